// Anchor-free detector output to the final boxes: decode, the best by score, non-maximum suppression, image pixels.
//
// Mirrors ops/cpu.py `decode_yolox`, `non_maximum_suppression` and `pack_detections`. Capacities are fixed, for a
// captured graph cannot wait to learn a count: an anchor point that is no candidate has a score below zero, a row
// that is not kept is -1.

#include <cuda_fp16.h>

typedef unsigned long long Key;

const int CAPACITY = 1024;  // candidates in non-maximum suppression, and threads of a block that works on them
const int WORDS = CAPACITY / 32;
const float NO_CANDIDATE = -1.0f;

// ---------------------------------------------------------------------------------------------
// Decode

// One thread an anchor point. A NaN in a class score makes the score NaN, which never passes.
template <class T>
__device__ void decode_yolox(const T* output, int anchors, int columns, const float2* cells,
                             const float* strides, float threshold, float4* boxes, float* scores,
                             int* class_ids) {
    int anchor = blockIdx.x * blockDim.x + threadIdx.x;
    if (anchor >= anchors) return;
    const T* row = output + size_t(anchor) * columns;
    scores[anchor] = NO_CANDIDATE;
    // A class score is at most 1, so objectness alone rules out nearly every anchor point.
    float objectness = float(row[4]);
    if (!(objectness >= threshold)) return;
    int best = 0;
    for (int c = 1; c < columns - 5; ++c) {
        float value = float(row[5 + c]), so_far = float(row[5 + best]);
        if (isnan(so_far)) break;
        if (isnan(value) || value > so_far) best = c;
    }
    float score = __fmul_rn(objectness, float(row[5 + best]));
    if (!(score >= threshold)) return;
    float stride = strides[anchor];
    float x = __fmul_rn(__fadd_rn(float(row[0]), cells[anchor].x), stride);
    float y = __fmul_rn(__fadd_rn(float(row[1]), cells[anchor].y), stride);
    float half_width = __fmul_rn(__fmul_rn(expf(float(row[2])), stride), 0.5f);
    float half_height = __fmul_rn(__fmul_rn(expf(float(row[3])), stride), 0.5f);
    float4 box = make_float4(__fsub_rn(x, half_width), __fsub_rn(y, half_height), __fadd_rn(x, half_width),
                             __fadd_rn(y, half_height));
    if (!(isfinite(box.x) && isfinite(box.y) && isfinite(box.z) && isfinite(box.w))) return;
    boxes[anchor] = box;
    scores[anchor] = score;
    class_ids[anchor] = best;
}

extern "C" __global__ void decode_yolox_f32(const float* output, int anchors, int columns, const float2* cells,
                                            const float* strides, float threshold, float4* boxes, float* scores,
                                            int* class_ids) {
    decode_yolox(output, anchors, columns, cells, strides, threshold, boxes, scores, class_ids);
}

extern "C" __global__ void decode_yolox_f16(const __half* output, int anchors, int columns, const float2* cells,
                                            const float* strides, float threshold, float4* boxes, float* scores,
                                            int* class_ids) {
    decode_yolox(output, anchors, columns, cells, strides, threshold, boxes, scores, class_ids);
}

// ---------------------------------------------------------------------------------------------
// The best candidates in order

// Falling score, and rising row where scores are equal, as the rising order of one integer; all are different.
__device__ Key key_of(float score, int row) {
    unsigned bits = __float_as_uint(score + 0.0f);  // no minus zero
    return (Key(0xFFFFFFFFu - bits) << 32) | unsigned(row);
}

// The key of the candidate that takes the last place, found digit by digit of 8 bits. For the whole block.
__device__ Key last_that_fits(const float* scores, int count, int places) {
    __shared__ int histogram[256];
    __shared__ Key shared_prefix;
    __shared__ int shared_left;
    Key prefix = 0;
    int left = places;
    for (int shift = 56; shift >= 0; shift -= 8) {
        if (threadIdx.x < 256) histogram[threadIdx.x] = 0;
        __syncthreads();
        for (int row = threadIdx.x; row < count; row += blockDim.x) {
            if (!(scores[row] >= 0.0f)) continue;
            Key key = key_of(scores[row], row);
            if (shift == 56 || (key >> (shift + 8)) == prefix) atomicAdd(&histogram[(key >> shift) & 255], 1);
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            int digit = 0;
            while (left > histogram[digit]) left -= histogram[digit++];
            shared_prefix = (prefix << 8) | Key(digit);
            shared_left = left;
        }
        __syncthreads();
        prefix = shared_prefix;
        left = shared_left;
    }
    return prefix;
}

// Bitonic sort of the first `size`, a power of two, in shared memory by the whole block.
__device__ void sort_keys(Key* keys, int size) {
    int i = threadIdx.x;
    for (int span = 2; span <= size; span <<= 1) {
        for (int stride = span >> 1; stride > 0; stride >>= 1) {
            __syncthreads();
            int partner = i ^ stride;
            if (i < size && partner > i && ((keys[i] > keys[partner]) == ((i & span) == 0))) {
                Key other = keys[partner];
                keys[partner] = keys[i];
                keys[i] = other;
            }
        }
    }
    __syncthreads();
}

// One block of CAPACITY threads. `order` gets the rows of the best `capacity` candidates by falling score;
// `counts` how many candidates there were and how many take part.
extern "C" __global__ void best_candidates(const float* scores, int rows, int capacity, int* order, int* counts) {
    __shared__ Key keys[CAPACITY];
    __shared__ int candidates, gathered;
    if (threadIdx.x == 0) candidates = gathered = 0;
    keys[threadIdx.x] = ~Key(0);
    __syncthreads();
    int own = 0;
    for (int row = threadIdx.x; row < rows; row += blockDim.x) own += scores[row] >= 0.0f;
    if (own) atomicAdd(&candidates, own);
    __syncthreads();
    int places = min(candidates, capacity);
    Key last = candidates > capacity ? last_that_fits(scores, rows, places) : ~Key(0);
    for (int row = threadIdx.x; row < rows; row += blockDim.x) {
        if (!(scores[row] >= 0.0f)) continue;
        Key key = key_of(scores[row], row);
        if (key <= last) keys[atomicAdd(&gathered, 1)] = key;
    }
    int size = 2;
    while (size < places) size <<= 1;
    sort_keys(keys, size);
    if (threadIdx.x < places) order[threadIdx.x] = int(keys[threadIdx.x] & 0xFFFFFFFFu);
    if (threadIdx.x == 0) {
        counts[0] = candidates;
        counts[1] = places;
    }
}

// ---------------------------------------------------------------------------------------------
// Non-maximum suppression

// Intersection over union as OpenCV has it: in double, two boxes without area are the same.
__device__ float overlap(float4 a, float4 b) {
    double width = fmin(double(a.z), double(b.z)) - fmax(double(a.x), double(b.x));
    double height = fmin(double(a.w), double(b.w)) - fmax(double(a.y), double(b.y));
    double common = width > 0 && height > 0 ? width * height : 0.0;
    double both = (double(a.z) - a.x) * (double(a.w) - a.y) + (double(b.z) - b.x) * (double(b.w) - b.y);
    if (both <= 2.220446049250313e-16) return 1.0f;
    return 1.0f - float(1.0 - common / (both - common));
}

// One warp a candidate: bit j of its words says that it suppresses candidate j, a worse one of its class.
extern "C" __global__ void suppression_mask(const float4* boxes, const int* class_ids, const int* order,
                                            const int* counts, float threshold, unsigned* mask) {
    int i = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    int count = counts[1];
    if (i >= count) return;
    float4 box = boxes[order[i]];
    int class_id = class_ids[order[i]];
    for (int word = 0; word < WORDS; ++word) {
        int j = word * 32 + lane;
        bool suppresses = false;
        if (j > i && j < count && class_ids[order[j]] == class_id)
            suppresses = overlap(box, boxes[order[j]]) > threshold;
        unsigned bits = __ballot_sync(0xFFFFFFFFu, suppresses);
        if (lane == 0) mask[i * WORDS + word] = bits;
    }
}

// One block of CAPACITY threads: all bring 32 rows of the mask, then the first warp walks down them.
extern "C" __global__ void keep_unsuppressed(const int* order, const int* counts, const unsigned* mask, int* kept) {
    __shared__ unsigned rows[32 * WORDS];
    int lane = threadIdx.x;
    int count = counts[1], found = 0;
    unsigned removed = 0;  // lane l of the first warp: which of candidates 32 l to 32 l + 31 are suppressed
    kept[threadIdx.x] = -1;
    for (int start = 0; start < count; start += 32) {
        __syncthreads();
        int row = start + threadIdx.x / WORDS;
        rows[threadIdx.x] = row < count ? mask[start * WORDS + threadIdx.x] : 0;
        __syncthreads();
        if (threadIdx.x >= 32) continue;
        for (int k = 0; k < min(32, count - start); ++k) {
            unsigned suppressed = __shfl_sync(0xFFFFFFFFu, removed, start / 32);
            if (suppressed >> k & 1) continue;
            if (lane == 0) kept[found] = order[start + k];
            ++found;
            removed |= rows[k * WORDS + lane];
        }
    }
}

// ---------------------------------------------------------------------------------------------
// To the image

__device__ float to_image(float value, double shift, double scale, double limit) {
    return float(fmin(fmax((double(value) - shift) / scale, 0.0), limit));
}

// One block of CAPACITY threads. `packed` (1 + CAPACITY, 6): first the number of candidates and of boxes, then the
// boxes in order, x1 y1 x2 y2 in image pixels, score, class, then zeros; a box without a pixel inside the image is left out.
extern "C" __global__ void pack_detections(const float4* boxes, const float* scores, const int* class_ids, int rows,
                                           const int* kept, double left, double top, double scale_x, double scale_y,
                                           int width, int height, float* packed) {
    __shared__ int found_before[WORDS + 1];
    __shared__ int candidates;
    if (threadIdx.x == 0) candidates = 0;
    __syncthreads();
    int own = 0;
    for (int i = threadIdx.x; i < rows; i += blockDim.x) own += scores[i] >= 0.0f;
    if (own) atomicAdd(&candidates, own);
    int row = kept[threadIdx.x], warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float4 box = {};
    if (row >= 0) {
        box = make_float4(to_image(boxes[row].x, left, scale_x, width), to_image(boxes[row].y, top, scale_y, height),
                          to_image(boxes[row].z, left, scale_x, width), to_image(boxes[row].w, top, scale_y, height));
    }
    bool visible = row >= 0 && box.z - box.x >= 1.0f && box.w - box.y >= 1.0f;
    unsigned votes = __ballot_sync(0xFFFFFFFFu, visible);
    if (lane == 0) found_before[warp + 1] = __popc(votes);
    __syncthreads();
    if (threadIdx.x == 0) {
        found_before[0] = 0;
        for (int w = 0; w < WORDS; ++w) found_before[w + 1] += found_before[w];
        packed[0] = float(candidates);
        packed[1] = float(found_before[WORDS]);
    }
    __syncthreads();
    float* own_row = packed + 6 * (1 + threadIdx.x);
    for (int i = 0; i < 6 && threadIdx.x >= found_before[WORDS]; ++i) own_row[i] = 0.0f;
    if (threadIdx.x >= 2 && threadIdx.x < 6) packed[threadIdx.x] = 0.0f;
    if (!visible) return;
    float* target = packed + 6 * (1 + found_before[warp] + __popc(votes & ((1u << lane) - 1)));
    target[0] = box.x;
    target[1] = box.y;
    target[2] = box.z;
    target[3] = box.w;
    target[4] = scores[row];
    target[5] = float(class_ids[row]);
}
