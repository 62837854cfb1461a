// Image to network input in one pass: convert, place, resize, normalise, planar.
//
// Mirrors ops/cpu.py `preprocess` to the last bit for FP32: the integer arithmetic below is what OpenCV does for
// 8-bit images (bilinear with 11-bit weights, YUV by BT.601 with 20-bit factors, bilinear Bayer interpolation).

#include <cuda_fp16.h>

// `places` says where each row of the image is stored, if not all of them are; null if they are.
struct Source {
    const unsigned char* data;
    int width, height, pitch;
    const int* places;

    __device__ const unsigned char* row(int y) const { return data + size_t(places ? places[y] : y) * pitch; }
};

// A pixel as blue, green, red.
struct Bgr {
    int c[3];
};

__device__ int clamped(int value, int low, int high) { return min(max(value, low), high); }

// ---------------------------------------------------------------------------------------------
// One struct for each way the bytes lie

template <int CHANNELS, int BLUE, int GREEN, int RED>
struct Interleaved {
    static __device__ Bgr at(const Source& s, int x, int y) {
        const unsigned char* p = s.row(y) + x * CHANNELS;
        return {{p[BLUE], p[GREEN], p[RED]}};
    }
};

struct Grey16 {
    static __device__ Bgr at(const Source& s, int x, int y) {
        int grey = s.row(y)[2 * x + 1];  // little-endian: the upper 8 bits
        return {{grey, grey, grey}};
    }
};

__device__ Bgr from_yuv(int luma, int u, int v) {
    const int half = 1 << 19;
    int y = max(luma - 16, 0) * 1220542 + half;
    u -= 128;
    v -= 128;
    return {{clamped((y + 2116026 * u) >> 20, 0, 255),
             clamped((y - 852492 * v - 409993 * u) >> 20, 0, 255),
             clamped((y + 1673527 * v) >> 20, 0, 255)}};
}

template <int LUMA, int U, int V>
struct PackedYuv {
    static __device__ Bgr at(const Source& s, int x, int y) {
        const unsigned char* row = s.data + size_t(y) * s.pitch;
        const unsigned char* pair = row + (x & ~1) * 2;
        return from_yuv(row[2 * x + LUMA], pair[U], pair[V]);
    }
};

template <int U, int V>
struct PlanarYuv {
    static __device__ Bgr at(const Source& s, int x, int y) {
        const unsigned char* chroma = s.data + size_t(s.height + y / 2) * s.pitch + (x & ~1);
        return from_yuv(s.data[size_t(y) * s.pitch + x], chroma[U], chroma[V]);
    }
};

// RED_X and RED_Y say at which column and row of each 2x2 cell the red pixel lies.
template <int RED_X, int RED_Y>
struct Bayer {
    static __device__ Bgr at(const Source& s, int x, int y) {
        // The outermost pixels have no neighbours on one side: they repeat those next to them.
        x = clamped(x, 1, s.width - 2);
        y = clamped(y, 1, s.height - 2);
        const unsigned char* row = s.data + size_t(y) * s.pitch + x;
        int own = row[0];
        int sides = row[-1] + row[1];
        int above_below = row[-s.pitch] + row[s.pitch];
        bool red_column = (x & 1) == RED_X, red_row = (y & 1) == RED_Y;
        if (red_column == red_row) {
            int cross = (sides + above_below + 2) >> 2;
            int corners = (row[-s.pitch - 1] + row[-s.pitch + 1] + row[s.pitch - 1] + row[s.pitch + 1] + 2) >> 2;
            return red_row ? Bgr{{corners, cross, own}} : Bgr{{own, cross, corners}};
        }
        int beside = (sides + 1) >> 1, upright = (above_below + 1) >> 1;
        return red_row ? Bgr{{upright, own, beside}} : Bgr{{beside, own, upright}};
    }
};

// ---------------------------------------------------------------------------------------------
// Bilinear sampling

// Where one output coordinate falls between two source coordinates, with weights of 11 bits.
struct Tap {
    int first, second, weight_first, weight_second;
};

__device__ Tap tap(int target, double step, int size, bool snap_at_border) {
    float position = float((target + 0.5) * step - 0.5);
    int first = int(floorf(position));
    float fraction = position - float(first);
    if (snap_at_border && (first < 0 || first >= size - 1)) fraction = 0.0f;
    return {clamped(first, 0, size - 1), clamped(first + 1, 0, size - 1),
            __float2int_rn((1.0f - fraction) * 2048.0f), __float2int_rn(fraction * 2048.0f)};
}

template <class Layout>
__device__ Bgr bilinear(const Source& source, int x, int y, double step_x, double step_y) {
    Tap across = tap(x, step_x, source.width, true);
    Tap down = tap(y, step_y, source.height, false);
    Bgr a = Layout::at(source, across.first, down.first), b = Layout::at(source, across.second, down.first);
    Bgr c = Layout::at(source, across.first, down.second), d = Layout::at(source, across.second, down.second);
    Bgr result;
    for (int i = 0; i < 3; ++i) {
        int upper = a.c[i] * across.weight_first + b.c[i] * across.weight_second;
        int lower = c.c[i] * across.weight_first + d.c[i] * across.weight_second;
        result.c[i] =
            (((down.weight_first * (upper >> 4)) >> 16) + ((down.weight_second * (lower >> 4)) >> 16) + 2) >> 2;
    }
    return result;
}

__device__ void store(float* target, float value) { *target = value; }
__device__ void store(__half* target, float value) { *target = __float2half_rn(value); }

// One thread a pixel of the tensor (3, tensor_height, tensor_width). `steps` are source pixels per tensor pixel.
template <class Layout, class T>
__device__ void preprocess(const unsigned char* data, int width, int height, int pitch, const int* places,
                           T* tensor, int tensor_width, int tensor_height, int left, int top, int placed_width,
                           int placed_height, double step_x, double step_y, int network_is_rgb,
                           float gain_0, float gain_1, float gain_2, float offset_0, float offset_1,
                           float offset_2, float pad_value) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= tensor_width || y >= tensor_height) return;
    const float gain[3] = {gain_0, gain_1, gain_2}, offset[3] = {offset_0, offset_1, offset_2};
    bool inside = x >= left && x < left + placed_width && y >= top && y < top + placed_height;
    Bgr pixel = {};
    if (inside) pixel = bilinear<Layout>({data, width, height, pitch, places}, x - left, y - top, step_x, step_y);
    size_t plane = size_t(tensor_width) * tensor_height;
    T* target = tensor + size_t(y) * tensor_width + x;
    for (int channel = 0; channel < 3; ++channel) {
        float value = inside ? float(network_is_rgb ? pixel.c[2 - channel] : pixel.c[channel]) : pad_value;
        // Rounded after each step, as on the host.
        store(target + channel * plane, __fadd_rn(__fmul_rn(value, gain[channel]), offset[channel]));
    }
}

#define PREPROCESS(NAME, TYPE, ...)                                                                              \
    extern "C" __global__ void NAME(                                                                             \
        const unsigned char* data, int width, int height, int pitch, const int* places, TYPE* tensor,            \
        int tensor_width, int tensor_height, int left, int top, int placed_width, int placed_height,             \
        double step_x, double step_y, int network_is_rgb, float gain_0, float gain_1, float gain_2,              \
        float offset_0, float offset_1, float offset_2, float pad_value) {                                       \
        preprocess<__VA_ARGS__, TYPE>(data, width, height, pitch, places, tensor, tensor_width, tensor_height,   \
                                      left, top, placed_width, placed_height, step_x, step_y, network_is_rgb,    \
                                      gain_0, gain_1, gain_2, offset_0, offset_1, offset_2, pad_value);          \
    }

#define PREPROCESS_BOTH(NAME, ...)              \
    PREPROCESS(NAME##_f32, float, __VA_ARGS__)  \
    PREPROCESS(NAME##_f16, __half, __VA_ARGS__)

PREPROCESS_BOTH(preprocess_rgb8, Interleaved<3, 2, 1, 0>)
PREPROCESS_BOTH(preprocess_bgr8, Interleaved<3, 0, 1, 2>)
PREPROCESS_BOTH(preprocess_rgba8, Interleaved<4, 2, 1, 0>)
PREPROCESS_BOTH(preprocess_bgra8, Interleaved<4, 0, 1, 2>)
PREPROCESS_BOTH(preprocess_mono8, Interleaved<1, 0, 0, 0>)
PREPROCESS_BOTH(preprocess_mono16, Grey16)
PREPROCESS_BOTH(preprocess_yuy2, PackedYuv<0, 1, 3>)
PREPROCESS_BOTH(preprocess_uyvy, PackedYuv<1, 0, 2>)
PREPROCESS_BOTH(preprocess_nv12, PlanarYuv<0, 1>)
PREPROCESS_BOTH(preprocess_nv21, PlanarYuv<1, 0>)
PREPROCESS_BOTH(preprocess_bayer_rggb8, Bayer<0, 0>)
PREPROCESS_BOTH(preprocess_bayer_bggr8, Bayer<1, 1>)
PREPROCESS_BOTH(preprocess_bayer_gbrg8, Bayer<0, 1>)
PREPROCESS_BOTH(preprocess_bayer_grbg8, Bayer<1, 0>)
