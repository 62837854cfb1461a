// What the threads of one block find out together. Every thread of the block must call these.

const unsigned ALL = 0xFFFFFFFFu;

// The sum of the values of the threads before, and of all in `total`.
template <int THREADS>
__device__ int sum_before(int value, int& total) {
    __shared__ int warp_sums[THREADS / 32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, sum = value;
    for (int step = 1; step < 32; step <<= 1) {
        int other = __shfl_up_sync(ALL, sum, step);
        if (lane >= step) sum += other;
    }
    __syncthreads();
    if (lane == 31) warp_sums[warp] = sum;
    __syncthreads();
    int before = sum - value;
    total = 0;
    for (int i = 0; i < THREADS / 32; ++i) {
        if (i < warp) before += warp_sums[i];
        total += warp_sums[i];
    }
    return before;
}

// Floats as integers of the same order, for atomic minima and maxima.
__device__ unsigned ordered(float value) {
    unsigned bits = __float_as_uint(value);
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

__device__ float unordered(unsigned key) {
    return __uint_as_float(key >> 31 ? key & 0x7FFFFFFFu : ~key);
}

// The value at `place`, from 0, of the sorted values(0) to values(count - 1): eight bits at a time, from the top.
template <class Values>
__device__ float nth_smallest(const Values& values, int count, int place) {
    __shared__ int counts[256];
    __shared__ unsigned prefix;
    __shared__ int rest;
    __syncthreads();
    if (threadIdx.x == 0) prefix = 0, rest = place;
    for (int shift = 24; shift >= 0; shift -= 8) {
        for (int i = threadIdx.x; i < 256; i += blockDim.x) counts[i] = 0;
        __syncthreads();
        unsigned known = shift == 24 ? 0 : ALL << (shift + 8);
        for (int i = threadIdx.x; i < count; i += blockDim.x) {
            unsigned key = ordered(values(i));
            if ((key & known) == prefix) atomicAdd(&counts[key >> shift & 255], 1);
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            int digit = 0;
            while (counts[digit] <= rest) rest -= counts[digit++];
            prefix |= unsigned(digit) << shift;
        }
        __syncthreads();
    }
    return unordered(prefix);
}
