// The way from the host: rows of an image are read straight from pinned memory, from an address that differs from
// frame to frame and therefore cannot be a fixed part of a captured graph.

typedef unsigned long long Address;

static __device__ void store(unsigned char* target, uint4 value) {
    const unsigned int words[4] = {value.x, value.y, value.z, value.w};
    int misalignment = (int)((Address)target % 16);
    if (misalignment == 0)
        *reinterpret_cast<uint4*>(target) = value;
    else if (misalignment % 4 == 0)
        for (int i = 0; i < 4; ++i) reinterpret_cast<unsigned int*>(target)[i] = words[i];
    else
        for (int i = 0; i < 16; ++i) target[i] = (unsigned char)(words[i / 4] >> (8 * (i % 4)));
}

static __device__ void store_part(unsigned char* row, long long offset, long long row_bytes, uint4 value) {
    const unsigned int words[4] = {value.x, value.y, value.z, value.w};
    for (int i = 0; i < 16; ++i) {
        long long place = offset + i;
        if (place >= 0 && place < row_bytes) row[place] = (unsigned char)(words[i / 4] >> (8 * (i % 4)));
    }
}

// Loads that a thread has under way at once: the bus is long.
constexpr int LOADS = 4;

// Reads 16 bytes at a time from where the host has them aligned, or the bus would carry less than it can; a row's first
// and last may hold bytes of its neighbours, which are left out. `source` holds the first row's address and the step.
extern "C" __global__ void fetch_rows(const Address* source, const int* rows, long long count, long long row_bytes,
                                      unsigned char* target) {
    const Address image = source[0], step = source[1];
    const unsigned words_per_row = (unsigned)(row_bytes / 16 + 2), words = (unsigned)count * words_per_row;
    const unsigned stride = gridDim.x * blockDim.x;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < words; i += LOADS * stride) {
        uint4 values[LOADS];
        long long offsets[LOADS];
#pragma unroll
        for (int load = 0; load < LOADS; ++load) {
            const unsigned word = i + load * stride;
            if (word >= words) break;
            const Address first = image + rows[word / words_per_row] * step;
            const Address place = (first & ~(Address)15) + 16 * (word % words_per_row);
            offsets[load] = (long long)(place - first);
            if (offsets[load] < row_bytes) values[load] = *reinterpret_cast<const uint4*>(place);
        }
#pragma unroll
        for (int load = 0; load < LOADS; ++load) {
            const unsigned word = i + load * stride;
            if (word >= words) break;
            unsigned char* row = target + (long long)(word / words_per_row) * row_bytes;
            const long long offset = offsets[load];
            if (offset >= 0 && offset + 16 <= row_bytes)
                store(row + offset, values[load]);
            else if (offset < row_bytes)
                store_part(row, offset, row_bytes, values[load]);
        }
    }
}
