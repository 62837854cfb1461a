// Which points lie in each region, in order and without gaps. Mirrors ops/cpu/gather.py.
//
// A warp takes a chunk of points and asks every region of its camera: first how many are inside, then, once the
// places are known from the sums over the chunks, it writes them. Order and result are the same in every run.

#include "block.cuh"
#include "sweep.cuh"

const int STEPS = 8;
const int CHUNK = 32 * STEPS;  // points of a warp
const int WARPS = 4;           // of a block that goes through the points
const int SCAN_THREADS = 256;

// Pixels (cameras, N, 2) in boxes x1 y1 x2 y2, the edges included; NaN is in none.
struct InBox {
    const float2* pixels;
    int count;
    __device__ float2 at(int camera, int row) const { return pixels[size_t(camera) * count + row]; }
    static __device__ bool holds(float4 box, float2 pixel) {
        return pixel.x >= box.x && pixel.y >= box.y && pixel.x <= box.z && pixel.y <= box.w;
    }
};

// Points (N, 3) that are no ground and that this camera does not see, nearer than a radius to a place on the
// ground: x, y, squared radius.
struct HiddenAround {
    const float2* pixels;
    const Sweep* sweep;
    int count;
    __device__ float2 at(int camera, int row) const {
        float2 none = make_float2(nanf(""), nanf(""));
        if (sweep->is_ground[row] || !isnan(pixels[size_t(camera) * count + row].x)) return none;
        return make_float2(sweep->points[3 * row], sweep->points[3 * row + 1]);
    }
    static __device__ bool holds(float4 circle, float2 point) {
        float x = __fsub_rn(point.x, circle.x), y = __fsub_rn(point.y, circle.y);
        return __fadd_rn(__fmul_rn(x, x), __fmul_rn(y, y)) < circle.z;
    }
};

// Regions from first_regions[camera] on belong to a camera. With `rows` the members are written, at most `capacity`
// in all, behind offsets[region] + counts[region, chunk]; without it they are counted into `counts`.
template <class Members>
__device__ void gather(Members members, const float4* regions, const int* first_regions, int chunks, int* counts,
                       const int* offsets, int* rows, int capacity) {
    int chunk = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32, camera = blockIdx.y;
    if (chunk >= chunks) return;
    int first = first_regions[camera], last = first_regions[camera + 1];
    if (first == last) return;
    float2 values[STEPS];
    bool any = false;
    for (int k = 0; k < STEPS; ++k) {
        int row = chunk * CHUNK + k * 32 + lane;
        values[k] = row < members.count ? members.at(camera, row) : make_float2(nanf(""), nanf(""));
        any |= !isnan(values[k].x);
    }
    if (!__any_sync(ALL, any)) {
        for (int region = first + lane; region < last && !rows; region += 32) counts[region * chunks + chunk] = 0;
        return;
    }
    for (int region = first; region < last; ++region) {
        float4 asked = regions[region];
        int found = 0, place = rows ? offsets[region] + counts[region * chunks + chunk] : 0;
        for (int k = 0; k < STEPS; ++k) {
            bool inside = Members::holds(asked, values[k]);
            unsigned votes = __ballot_sync(ALL, inside);
            int own = place + found + __popc(votes & ((1u << lane) - 1));
            if (rows && inside && own < capacity) rows[own] = chunk * CHUNK + k * 32 + lane;
            found += __popc(votes);
        }
        if (!rows && lane == 0) counts[region * chunks + chunk] = found;
    }
}

extern "C" __global__ void points_in_boxes(const float2* pixels, int count, const float4* boxes,
                                           const int* first_boxes, int chunks, int* counts, const int* offsets,
                                           int* rows, int capacity) {
    gather(InBox{pixels, count}, boxes, first_boxes, chunks, counts, offsets, rows, capacity);
}

extern "C" __global__ void hidden_around(const float2* pixels, const Sweep* sweep, int count, const float4* circles,
                                         const int* first_circles, int chunks, int* counts, const int* offsets,
                                         int* rows, int capacity) {
    gather(HiddenAround{pixels, sweep, count}, circles, first_circles, chunks, counts, offsets, rows, capacity);
}

// One block of SCAN_THREADS a row of `values` (rows, length): each value becomes the sum of those before it in its
// row; `totals` of the rows. With `used`, rows from there on hold nothing.
extern "C" __global__ void sums_before(int* values, int length, const int* used, int* totals) {
    if (used && blockIdx.x >= *used) {
        if (threadIdx.x == 0) totals[blockIdx.x] = 0;
        return;
    }
    int* row = values + size_t(blockIdx.x) * length;
    int before = 0, total;
    for (int start = 0; start < length; start += SCAN_THREADS) {
        int i = start + threadIdx.x;
        int sum = before + sum_before<SCAN_THREADS>(i < length ? row[i] : 0, total);
        if (i < length) row[i] = sum;
        before += total;
    }
    if (threadIdx.x == 0) totals[blockIdx.x] = before;
}
