// The way back to the host: a result is written straight to pinned memory, to an address that differs from frame to
// frame and therefore cannot be a fixed part of a captured graph.

extern "C" __global__ void deliver(const uint4* source, const unsigned long long* addresses, int index,
                                   long long bytes) {
    uint4* target = reinterpret_cast<uint4*>(addresses[index]);
    long long words = bytes / 16, step = (long long)gridDim.x * blockDim.x;
    long long first = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    for (long long i = first; i < words; i += step) target[i] = source[i];
    const unsigned char* tail = reinterpret_cast<const unsigned char*>(source);
    for (long long i = 16 * words + first; i < bytes; i += step)
        reinterpret_cast<unsigned char*>(target)[i] = tail[i];
}
