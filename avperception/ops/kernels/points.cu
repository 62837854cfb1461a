// Lidar points (N, 3): range, compaction, transforms. Mirrors ops/cpu/points.py.
//
// The number of points differs from sweep to sweep while a captured graph's sizes are fixed: a row that is empty is
// NaN, in a list of rows -1. Arithmetic is rounded after each step, as on the host.

const int BLOCK = 1024;  // threads of the kernels that compact
const unsigned ALL = 0xFFFFFFFFu;

__device__ float squared_length(float x, float y, float z) {
    return __fadd_rn(__fadd_rn(__fmul_rn(x, x), __fmul_rn(y, y)), __fmul_rn(z, z));
}

extern "C" __global__ void within_range(const float* points, int count, float min_squared, float max_squared,
                                        bool* mask) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= count) return;
    float squared = squared_length(points[3 * row], points[3 * row + 1], points[3 * row + 2]);
    mask[row] = squared >= min_squared && squared <= max_squared;
}

// T is row-major (4, 4).
extern "C" __global__ void transform_points(const float* points, int count, const double* T, float* result) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= count) return;
    float x = points[3 * row], y = points[3 * row + 1], z = points[3 * row + 2];
    for (int i = 0; i < 3; ++i) {
        float sum = __fadd_rn(__fmul_rn(x, float(T[4 * i])), __fmul_rn(y, float(T[4 * i + 1])));
        sum = __fadd_rn(sum, __fmul_rn(z, float(T[4 * i + 2])));
        result[3 * row + i] = __fadd_rn(sum, float(T[4 * i + 3]));
    }
}

extern "C" __global__ void take_rows(const float* points, const int* rows, int count, float* taken) {
    int place = blockIdx.x * blockDim.x + threadIdx.x;
    if (place >= count) return;
    int row = rows[place];
    for (int i = 0; i < 3; ++i) taken[3 * place + i] = row >= 0 ? points[3 * row + i] : nanf("");
}

// ---------------------------------------------------------------------------------------------
// Compaction in order: what each block finds, then every block adds up those before it

extern "C" __global__ void count_selected(const bool* mask, int count, int* counts) {
    int row = blockIdx.x * BLOCK + threadIdx.x;
    int found = __syncthreads_count(row < count && mask[row]);
    if (threadIdx.x == 0) counts[blockIdx.x] = found;
}

__device__ int warp_sum(int value) {
    for (int step = 16; step; step >>= 1) value += __shfl_down_sync(ALL, value, step);
    return value;
}

extern "C" __global__ void place_selected(const bool* mask, int count, const int* counts, int* rows) {
    __shared__ int found_before[BLOCK / 32];  // by the warps before in this block
    __shared__ int before, total;
    int row = blockIdx.x * BLOCK + threadIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (threadIdx.x == 0) before = total = 0;
    bool selected = row < count && mask[row];
    unsigned votes = __ballot_sync(ALL, selected);
    if (lane == 0) found_before[warp] = __popc(votes);
    __syncthreads();
    int own_before = 0, own_total = 0;
    for (int block = threadIdx.x; block < gridDim.x; block += BLOCK) {
        own_total += counts[block];
        if (block < blockIdx.x) own_before += counts[block];
    }
    own_before = warp_sum(own_before);
    own_total = warp_sum(own_total);
    if (lane == 0) {
        atomicAdd(&before, own_before);
        atomicAdd(&total, own_total);
    }
    int rank = __popc(votes & ((1u << lane) - 1));
    for (int other = 0; other < warp; ++other) rank += found_before[other];
    __syncthreads();
    if (selected) rows[before + rank] = row;
    if (row < count && row >= total) rows[row] = -1;
}
