// The height of the ground below lidar points. Mirrors ops/cpu/points.py `ground_height`, every step rounded alike.

const int SECTORS = 180;
const float SLOPE_RINGS = 12.0f;  // as SLOPE_RINGS of the host
const int NEAR_RINGS = 15;
const int BLOCK = 1024;
const int NEAR_CELLS_OF_A_THREAD = (SECTORS * NEAR_RINGS + BLOCK - 1) / BLOCK;
const unsigned ALL = 0xFFFFFFFFu;
const unsigned NO_POINT = 0xFFFFFFFFu;

// Floats as unsigned integers of the same order.
__device__ unsigned ordered(float value) {
    unsigned bits = __float_as_uint(value);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

__device__ float unordered(unsigned key) {
    return __uint_as_float(key >> 31 ? key & 0x7FFFFFFFu : ~key);
}

// In double precision only where a float would not settle it: many GPUs have few units for it.
__device__ int sector_of(float x, float y) {
    const float FULL_TURN = 6.283185307179586f;
    float sector = (atan2f(y, x) / FULL_TURN + 0.5f) * SECTORS;
    if (fabsf(sector - rintf(sector)) > 1e-3f) return int(sector) % SECTORS;
    double exact = __dmul_rn(__dadd_rn(atan2(double(y), double(x)) / 6.283185307179586, 0.5), double(SECTORS));
    return int(exact) % SECTORS;
}

// `lowest` (SECTORS, rings) starts as NO_POINT; `cells` gets the cell of each point, -1 for an empty row.
extern "C" __global__ void lowest_of_cells(const float* points, int count, const double* sensor, int sensor_stride,
                                           int rings, int* cells, unsigned* lowest) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= count) return;
    float x = __fsub_rn(points[3 * row], float(sensor[0]));
    float y = __fsub_rn(points[3 * row + 1], float(sensor[sensor_stride]));
    float z = points[3 * row + 2];
    if (isnan(x) || isnan(y) || isnan(z)) {
        cells[row] = -1;
        return;
    }
    float distance = float(sqrt(__dadd_rn(__dmul_rn(x, x), __dmul_rn(y, y))));
    int cell = sector_of(x, y) * rings + min(int(distance), rings - 1);
    cells[row] = cell;
    // Most points are not the lowest: a look is cheaper than taking turns.
    unsigned key = ordered(z);
    if (key < *(volatile unsigned*)(lowest + cell)) atomicMin(lowest + cell, key);
}

// The `low`-th and `high`-th smallest, from 0, of the keys that all threads of the block hold, bit by bit from the top.
__device__ void two_smallest(const unsigned (&keys)[NEAR_CELLS_OF_A_THREAD], int low, int high, unsigned& low_key,
                             unsigned& high_key) {
    __shared__ int below_low[32], below_high[32];
    if (threadIdx.x < 32) below_low[threadIdx.x] = below_high[threadIdx.x] = 0;
    __syncthreads();
    low_key = high_key = 0;
    for (int bit = 31; bit >= 0; --bit) {
        unsigned low_next = low_key | 1u << bit, high_next = high_key | 1u << bit;
        int low_found = 0, high_found = 0;
        for (int i = 0; i < NEAR_CELLS_OF_A_THREAD; ++i) {
            low_found += __popc(__ballot_sync(ALL, keys[i] < low_next));
            high_found += __popc(__ballot_sync(ALL, keys[i] < high_next));
        }
        if (threadIdx.x % 32 == 0) {
            atomicAdd(below_low + bit, low_found);
            atomicAdd(below_high + bit, high_found);
        }
        __syncthreads();
        if (below_low[bit] <= low) low_key = low_next;
        if (below_high[bit] <= high) high_key = high_next;
    }
}

// The median of the lowest points near the sensor, 0 where there is none. For the whole block.
__device__ float height_to_start_from(const unsigned* lowest, int rings) {
    unsigned keys[NEAR_CELLS_OF_A_THREAD];
    int near = min(NEAR_RINGS, rings), found = 0;
    for (int i = 0; i < NEAR_CELLS_OF_A_THREAD; ++i) {
        int k = i * BLOCK + threadIdx.x;
        keys[i] = k < SECTORS * near ? lowest[k / near * rings + k % near] : NO_POINT;
        found += __syncthreads_count(keys[i] != NO_POINT);
    }
    if (!found) return 0.0f;
    unsigned low, high;
    two_smallest(keys, (found - 1) / 2, found / 2, low, high);
    if (low == high) return unordered(low);
    return __fmul_rn(__fadd_rn(unordered(low), unordered(high)), 0.5f);
}

// One sector from the sensor outward, as `_spread_outward` of the host.
__device__ void spread_outward(const unsigned* lowest, int rings, float start, float rise_per_ring, float tolerance,
                               float* height) {
    const float infinity = __uint_as_float(0x7F800000u);
    float known = start, slope = 0.0f, rings_since = 0.0f;
    for (int ring = 0; ring < rings; ++ring) {
        rings_since += 1.0f;
        float seen = lowest[ring] == NO_POINT ? infinity : unordered(lowest[ring]);
        float expected = __fadd_rn(known, __fmul_rn(slope, fminf(rings_since, SLOPE_RINGS)));
        float reach = __fadd_rn(tolerance, __fmul_rn(rise_per_ring, fminf(rings_since, 5.0f)));
        bool is_ground = fabsf(__fsub_rn(seen, expected)) <= reach;
        float rise = is_ground ? __fdiv_rn(__fsub_rn(seen, known), rings_since) : slope;
        float weight = fminf(__fdiv_rn(rings_since, SLOPE_RINGS), 1.0f);
        slope = __fadd_rn(slope, __fmul_rn(__fsub_rn(rise, slope), weight));
        slope = fminf(fmaxf(slope, -rise_per_ring), rise_per_ring);
        if (is_ground) {
            known = seen;
            rings_since = 0.0f;
        }
        height[ring] = is_ground ? known : expected;
    }
}

__device__ float median_of_five(float a, float b, float c, float d, float e) {
    float low = fmaxf(fminf(a, b), fminf(c, d)), high = fminf(fmaxf(a, b), fmaxf(c, d));
    return fmaxf(fminf(low, high), fminf(fmaxf(low, high), e));
}

// One block of BLOCK threads. `raw` (SECTORS, rings) is scratch, `height` its median over neighbouring sectors.
extern "C" __global__ void follow_ground(const unsigned* lowest, int rings, float rise_per_ring, float tolerance,
                                         float* raw, float* height) {
    float start = height_to_start_from(lowest, rings);
    if (threadIdx.x < SECTORS) {
        int first = threadIdx.x * rings;
        spread_outward(lowest + first, rings, start, rise_per_ring, tolerance, raw + first);
    }
    __syncthreads();
    int cells = SECTORS * rings;
    for (int cell = threadIdx.x; cell < cells; cell += BLOCK) {
        int one = cell + rings, two = one + rings, minus_one = cell - rings, minus_two = minus_one - rings;
        height[cell] = median_of_five(raw[minus_two < 0 ? minus_two + cells : minus_two],
                                      raw[minus_one < 0 ? minus_one + cells : minus_one], raw[cell],
                                      raw[one < cells ? one : one - cells], raw[two < cells ? two : two - cells]);
    }
}

extern "C" __global__ void height_of_cells(const int* cells, int count, const float* height, float* heights) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row < count) heights[row] = cells[row] >= 0 ? height[cells[row]] : nanf("");
}
