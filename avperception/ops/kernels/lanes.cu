// Lane lines from a class mask. Mirrors ops/cpu.py `trace_lanes`: the same rows, runs, matches and lines.

const int MAX_RUNS = 24;
const int MAX_ROWS = 192;
const int MAX_LINES = 32;
const int MIN_ROWS = 8;
const int MAX_GAP_ROWS = 8;
const int MAX_OPEN = MAX_RUNS * (MAX_GAP_ROWS + 1);
const unsigned ALL = 0xFFFFFFFFu;

// One warp a sampled row, from the bottom up. `runs` gets first plus last pixel of each run of `lane_id`, which is
// twice its centre, `run_counts` their number, 0 for a row so full of runs that it is noise.
extern "C" __global__ void lane_runs(const unsigned char* mask, int width, int height, int step, int rows,
                                     int lane_id, int* runs, int* run_counts) {
    int sample = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (sample >= rows) return;
    const unsigned char* row = mask + size_t(height - 1 - sample * step) * width;
    __shared__ int firsts[8][MAX_RUNS + 32];  // a block has 8 warps; 32 pixels start 16 runs at most
    int* first = firsts[threadIdx.x / 32];
    int started = 0, ended = 0;
    bool open = false;  // whether the pixel before this stretch is lane
    for (int start = 0; start <= width && started <= MAX_RUNS; start += 32) {
        int x = start + lane;
        unsigned here = __ballot_sync(ALL, x < width && row[x] == lane_id);
        unsigned before = here << 1 | unsigned(open);
        unsigned starts = here & ~before, ends = before & ~here, below = (1u << lane) - 1;
        if (starts >> lane & 1) first[started + __popc(starts & below)] = x;
        __syncwarp();
        int end = ended + __popc(ends & below);
        if ((ends >> lane & 1) && end < MAX_RUNS) runs[sample * MAX_RUNS + end] = first[end] + x - 1;
        started += __popc(starts);
        ended += __popc(ends);
        open = here >> 31;
    }
    if (lane == 0) run_counts[sample] = started <= MAX_RUNS ? started : 0;
}

// Where a line with these points, by sample, should go on; extrapolated from a few rows apart so that one ragged
// row cannot turn it. A sample is `step` rows above the one before. Rounded after each step, as on the host.
__device__ double expected_column(const float* columns, const short* samples, int count, int sample, int step) {
    double last = columns[count - 1];
    if (count < 4) return last;
    int last_sample = samples[count - 1];
    double slope = (last - columns[count - 4]) / double((last_sample - samples[count - 4]) * step);
    return __dadd_rn(last, __dmul_rn(slope, double((sample - last_sample) * step)));
}

// One warp follows all lines. `columns` and `samples` (MAX_RUNS x rows lines, MAX_ROWS points) and `counts` are
// scratch. `lines` (MAX_LINES, 1 + rows, 2): the number of points of a line, then x y from near to far, zeros behind.
extern "C" __global__ void trace_lanes(const int* runs, const int* run_counts, int rows, int height, int step,
                                       double reach, float* columns, short* samples, int* counts, float* lines) {
    __shared__ int open[MAX_OPEN + 32];
    __shared__ double expected[MAX_OPEN + 32];
    __shared__ bool taken[MAX_OPEN + 32];
    __shared__ double centres[MAX_RUNS];
    __shared__ int chosen[MAX_LINES];
    int lane = threadIdx.x;
    unsigned below = (1u << lane) - 1;
    int line_count = 0, open_count = 0;
    for (int sample = 0; sample < rows; ++sample) {
        int run_count = run_counts[sample];
        if (!run_count) continue;
        // The lines that may go on, in the order in which they began.
        int still_open = 0;
        for (int start = 0; start < open_count; start += 32) {
            int i = start + lane;
            int line = i < open_count ? open[i] : 0;
            int count = i < open_count ? counts[line] : 0;
            bool goes_on = i < open_count && sample - samples[line * MAX_ROWS + count - 1] <= MAX_GAP_ROWS;
            unsigned votes = __ballot_sync(ALL, goes_on);  // a vote alone orders no memory
            __syncwarp();
            int place = still_open + __popc(votes & below);
            if (goes_on) {
                open[place] = line;
                taken[place] = false;
                expected[place] = expected_column(columns + line * MAX_ROWS, samples + line * MAX_ROWS, count,
                                                  sample, step);
            }
            __syncwarp();
            still_open += __popc(votes);
        }
        open_count = still_open;
        if (lane < run_count) centres[lane] = runs[sample * MAX_RUNS + lane] * 0.5;
        __syncwarp();
        // A run and a line that are nearest to each other belong together: the same as going through all pairs
        // by rising distance, in fewer turns.
        unsigned waiting = (1u << run_count) - 1;
        while (true) {
            int match = -1;
            if (waiting >> lane & 1) {
                double nearest = reach;
                for (int i = 0; i < open_count; ++i) {
                    double distance = fabs(expected[i] - centres[lane]);
                    if (!taken[i] && (distance < nearest || (match < 0 && distance <= nearest))) {
                        nearest = distance;
                        match = i;
                    }
                }
                for (int run = 0; match >= 0 && run < run_count; ++run) {
                    double distance = fabs(expected[match] - centres[run]);
                    bool is_nearer = distance < nearest || (distance == nearest && run < lane);
                    if ((waiting >> run & 1) && run != lane && is_nearer) match = -1;
                }
            }
            unsigned matched = __ballot_sync(ALL, match >= 0);
            __syncwarp();
            if (!matched) break;
            if (match >= 0) {
                int line = open[match], count = counts[line];
                columns[line * MAX_ROWS + count] = float(centres[lane]);
                samples[line * MAX_ROWS + count] = short(sample);
                counts[line] = count + 1;
                taken[match] = true;
            }
            __syncwarp();
            waiting &= ~matched;
        }
        if (waiting >> lane & 1) {
            int place = __popc(waiting & below), line = line_count + place;
            columns[line * MAX_ROWS] = float(centres[lane]);
            samples[line * MAX_ROWS] = short(sample);
            counts[line] = 1;
            open[open_count + place] = line;
        }
        __syncwarp();
        line_count += __popc(waiting);
        open_count += __popc(waiting);
    }
    int good = 0;
    for (int start = 0; start < line_count && good < MAX_LINES; start += 32) {
        int line = start + lane;
        bool is_good = line < line_count && counts[line] >= MIN_ROWS;
        unsigned votes = __ballot_sync(ALL, is_good);
        int place = good + __popc(votes & below);
        if (is_good && place < MAX_LINES) chosen[place] = line;
        good = min(good + __popc(votes), MAX_LINES);
    }
    __syncwarp();
    // From left to right by their first point, those that began first first.
    int own = lane < good ? chosen[lane] : -1, rank = 0;
    for (int i = 0; i < good && own >= 0; ++i) {
        float mine = columns[own * MAX_ROWS], other = columns[chosen[i] * MAX_ROWS];
        rank += other < mine || (other == mine && i < lane);
    }
    __syncwarp();
    if (own >= 0) chosen[rank] = own;
    __syncwarp();
    for (int place = 0; place < MAX_LINES; ++place) {
        float* target = lines + size_t(place) * (1 + rows) * 2;
        int line = place < good ? chosen[place] : -1, count = line >= 0 ? counts[line] : 0;
        if (lane < 2) target[lane] = lane == 0 ? float(count) : 0.0f;
        for (int k = lane; k < rows; k += 32) {
            bool seen = k < count;
            target[2 + 2 * k] = seen ? columns[line * MAX_ROWS + k] : 0.0f;
            target[3 + 2 * k] = seen ? float(height - 1 - samples[line * MAX_ROWS + k] * step) : 0.0f;
        }
    }
}
