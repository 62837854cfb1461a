// Image to network input in one pass: convert, place, resize or rectify, normalise, planar.
//
// Mirrors ops/cpu.py `preprocess` to the last bit for FP32: the integer arithmetic below is what OpenCV does for
// 8-bit images (resizing with 11-bit weights, remapping with 5-bit ones, YUV by BT.601 with 20-bit factors, bilinear
// Bayer interpolation).

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

// A pixel of the network's window from its place in the image; `steps` are source pixels per window pixel.
struct Resized {
    double step_x, step_y;

    template <class Layout>
    __device__ Bgr sample(const Source& source, int x, int y, bool& is_shown) const {
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
};

// A pixel of the network's window from where the lens brought it: `corners` (height, width) are the upper left of four
// neighbours, negative where there are none, `fractions` 32 times the way down from there plus that to the right, in
// 1/32 pixel.
struct Rectified {
    const short2* corners;
    const unsigned short* fractions;
    int width;

    template <class Layout>
    __device__ Bgr sample(const Source& source, int x, int y, bool& is_shown) const {
        short2 corner = corners[y * width + x];
        if (corner.x < 0) {
            is_shown = false;
            return {};
        }
        int fraction = fractions[y * width + x], right = fraction & 31, down = fraction >> 5;
        int next_x = min(corner.x + 1, source.width - 1), next_y = min(corner.y + 1, source.height - 1);
        Bgr a = Layout::at(source, corner.x, corner.y), b = Layout::at(source, next_x, corner.y);
        Bgr c = Layout::at(source, corner.x, next_y), d = Layout::at(source, next_x, next_y);
        Bgr result;
        for (int i = 0; i < 3; ++i) {
            int upper = a.c[i] * (32 - right) + b.c[i] * right, lower = c.c[i] * (32 - right) + d.c[i] * right;
            result.c[i] = (upper * (32 - down) + lower * down + 512) >> 10;
        }
        return result;
    }
};

__device__ void store(float* target, float value) { *target = value; }
__device__ void store(__half* target, float value) { *target = __float2half_rn(value); }

// One thread a pixel of the tensor (3, tensor_height, tensor_width).
template <class Layout, class Way, class T>
__device__ void preprocess(const Source& source, const Way& way, T* tensor, int tensor_width, int tensor_height,
                           int left, int top, int placed_width, int placed_height, int network_is_rgb,
                           float gain_0, float gain_1, float gain_2, float offset_0, float offset_1,
                           float offset_2, float pad_value) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= tensor_width || y >= tensor_height) return;
    const float gain[3] = {gain_0, gain_1, gain_2}, offset[3] = {offset_0, offset_1, offset_2};
    bool is_shown = x >= left && x < left + placed_width && y >= top && y < top + placed_height;
    Bgr pixel = {};
    if (is_shown) pixel = way.template sample<Layout>(source, x - left, y - top, is_shown);
    size_t plane = size_t(tensor_width) * tensor_height;
    T* target = tensor + size_t(y) * tensor_width + x;
    for (int channel = 0; channel < 3; ++channel) {
        float value = is_shown ? float(network_is_rgb ? pixel.c[2 - channel] : pixel.c[channel]) : pad_value;
        // Rounded after each step, as on the host.
        store(target + channel * plane, __fadd_rn(__fmul_rn(value, gain[channel]), offset[channel]));
    }
}

// A kernel by the two parameters that say how it samples, and what it makes of them.
#define KERNEL(NAME, TYPE, FIRST, SECOND, WAY, ...)                                                              \
    extern "C" __global__ void NAME(                                                                             \
        const unsigned char* data, int width, int height, int pitch, const int* places, TYPE* tensor,            \
        int tensor_width, int tensor_height, int left, int top, int placed_width, int placed_height, FIRST,      \
        SECOND, int network_is_rgb, float gain_0, float gain_1, float gain_2, float offset_0, float offset_1,    \
        float offset_2, float pad_value) {                                                                       \
        preprocess<__VA_ARGS__>(Source{data, width, height, pitch, places}, WAY, tensor, tensor_width,           \
                                tensor_height, left, top, placed_width, placed_height, network_is_rgb, gain_0,   \
                                gain_1, gain_2, offset_0, offset_1, offset_2, pad_value);                        \
    }

#define RESIZED(NAME, TYPE, ...)                                                                     \
    KERNEL(preprocess_##NAME, TYPE, double step_x, double step_y, (Resized{step_x, step_y}), __VA_ARGS__)

#define RECTIFIED(NAME, TYPE, ...)                                                                   \
    KERNEL(rectify_##NAME, TYPE, const short2* corners, const unsigned short* fractions,             \
           (Rectified{corners, fractions, placed_width}), __VA_ARGS__)

#define KERNELS(NAME, ...)                              \
    RESIZED(NAME##_f32, float, __VA_ARGS__)             \
    RESIZED(NAME##_f16, __half, __VA_ARGS__)            \
    RECTIFIED(NAME##_f32, float, __VA_ARGS__)           \
    RECTIFIED(NAME##_f16, __half, __VA_ARGS__)

KERNELS(rgb8, Interleaved<3, 2, 1, 0>)
KERNELS(bgr8, Interleaved<3, 0, 1, 2>)
KERNELS(rgba8, Interleaved<4, 2, 1, 0>)
KERNELS(bgra8, Interleaved<4, 0, 1, 2>)
KERNELS(mono8, Interleaved<1, 0, 0, 0>)
KERNELS(mono16, Grey16)
KERNELS(yuy2, PackedYuv<0, 1, 3>)
KERNELS(uyvy, PackedYuv<1, 0, 2>)
KERNELS(nv12, PlanarYuv<0, 1>)
KERNELS(nv21, PlanarYuv<1, 0>)
KERNELS(bayer_rggb8, Bayer<0, 0>)
KERNELS(bayer_bggr8, Bayer<1, 1>)
KERNELS(bayer_gbrg8, Bayer<0, 1>)
KERNELS(bayer_grbg8, Bayer<1, 0>)
