// Segmenter logits to class ids in the image's size. Mirrors `argmax_labels`, `labels_to_image` and
// `distort_labels` of ops/cpu.

#include <cuda_fp16.h>

// Channel of the largest logit, the first one winning a tie; after a NaN nothing is larger.
template <class T>
__device__ int winner(const T* logits, int channels, int pixel, int plane) {
    float best = float(logits[pixel]);
    int channel = 0;
    for (int c = 1; c < channels; ++c) {
        float value = float(logits[size_t(c) * plane + pixel]);
        if (value > best) channel = c;
        best = isnan(best) || isnan(value) ? nanf("") : fmaxf(best, value);
    }
    return channel;
}

// One thread a pixel. Output k has `channels_k` channels, 0 where there is none; `class_ids` holds the class of
// each channel of all outputs one after the other, -1 to leave what an earlier output said.
template <class T>
__device__ void argmax_labels(const T* logits_0, int channels_0, const T* logits_1, int channels_1,
                              const T* logits_2, int channels_2, const T* logits_3, int channels_3,
                              const short* class_ids, int plane, unsigned char* labels) {
    int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= plane) return;
    const T* logits[4] = {logits_0, logits_1, logits_2, logits_3};
    const int channels[4] = {channels_0, channels_1, channels_2, channels_3};
    int label = labels[pixel];
    for (int k = 0; k < 4; ++k) {
        if (!channels[k]) break;
        int class_id = class_ids[winner(logits[k], channels[k], pixel, plane)];
        if (class_id >= 0) label = class_id;
        class_ids += channels[k];
    }
    labels[pixel] = label;
}

extern "C" __global__ void argmax_labels_f32(const float* logits_0, int channels_0, const float* logits_1,
                                             int channels_1, const float* logits_2, int channels_2,
                                             const float* logits_3, int channels_3, const short* class_ids,
                                             int plane, unsigned char* labels) {
    argmax_labels(logits_0, channels_0, logits_1, channels_1, logits_2, channels_2, logits_3, channels_3,
                  class_ids, plane, labels);
}

extern "C" __global__ void argmax_labels_f16(const __half* logits_0, int channels_0, const __half* logits_1,
                                             int channels_1, const __half* logits_2, int channels_2,
                                             const __half* logits_3, int channels_3, const short* class_ids,
                                             int plane, unsigned char* labels) {
    argmax_labels(logits_0, channels_0, logits_1, channels_1, logits_2, channels_2, logits_3, channels_3,
                  class_ids, plane, labels);
}

// The source pixel in which the centre of a target pixel lies; in whole numbers, for a centre may fall on an edge.
__device__ int nearest(int target, int target_size, int source_size) {
    return (2u * target + 1u) * unsigned(source_size) / (2u * target_size);
}

// One thread 16 neighbouring pixels of the image, taken as one long row; `labels` has rows of `pitch` and the
// image in the window (left, top, window_width, window_height). All sizes are below 2^15.
extern "C" __global__ void labels_to_image(const unsigned char* labels, int pitch, int left, int top,
                                           int window_width, int window_height, int width, int height,
                                           unsigned char* image) {
    unsigned first = 16u * (blockIdx.x * blockDim.x + threadIdx.x);
    unsigned pixels = unsigned(width) * height;
    if (first >= pixels) return;
    int y = int(first / width), x = int(first % width);
    const unsigned char* row = labels + size_t(top + nearest(y, height, window_height)) * pitch + left;
    union {
        unsigned char bytes[16];
        uint4 word;
    } chunk;
    int count = int(min(16u, pixels - first));
    for (int i = 0; i < 16; ++i) {
        if (i >= count) break;
        chunk.bytes[i] = row[nearest(x, width, window_width)];
        if (++x == width && i + 1 < count) {
            x = 0;
            row = labels + size_t(top + nearest(++y, height, window_height)) * pitch + left;
        }
    }
    if (count == 16) {
        *reinterpret_cast<uint4*>(image + first) = chunk.word;
    } else {
        for (int i = 0; i < count; ++i) image[first + i] = chunk.bytes[i];
    }
}

const unsigned char UNLABELLED = 255;

// One thread 4 neighbouring pixels of the image, taken as one long row; `cells` says for each which of the `labels`,
// in rows of `pitch`, it takes: none where x is negative.
extern "C" __global__ void distort_labels(const unsigned char* labels, int pitch, const short2* cells, int pixels,
                                          unsigned char* image) {
    int first = 4 * (blockIdx.x * blockDim.x + threadIdx.x);
    if (first >= pixels) return;
    union {
        unsigned char bytes[4];
        unsigned word;
    } chunk;
    int count = min(4, pixels - first);
    for (int i = 0; i < 4; ++i) {
        if (i >= count) break;
        short2 cell = cells[first + i];
        chunk.bytes[i] = cell.x < 0 ? UNLABELLED : labels[size_t(cell.y) * pitch + cell.x];
    }
    if (count == 4) {
        *reinterpret_cast<unsigned*>(image + first) = chunk.word;
    } else {
        for (int i = 0; i < count; ++i) image[first + i] = chunk.bytes[i];
    }
}
