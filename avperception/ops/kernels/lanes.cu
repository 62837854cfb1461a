// Lane lines from a class mask. Mirrors ops/cpu/lanes.py `trace_lanes`: the same rows, runs, matches and lines.
// There is little to do in a row, and a row waits for the one before: what counts is how long each step takes.

const int MAX_RUNS = 24, MAX_ROWS = 192, MAX_LINES = 32, MIN_ROWS = 8, MAX_GAP_ROWS = 8;
const int MAX_OPEN = MAX_RUNS * (MAX_GAP_ROWS + 1), TRACING_THREADS = 256;
const float NO_RUN = -1e9f;   // out of reach of any line
const double NO_LINE = 1e30;  // out of reach of any run, and of NO_RUN
const unsigned ALL = 0xFFFFFFFFu;
using Bits = unsigned long long;

__device__ int bits_set(Bits bits) { return __popc(unsigned(bits)) + __popc(unsigned(bits >> 32)); }
__device__ int votes_before(unsigned votes) { return __popc(votes & ((1u << threadIdx.x % 32) - 1)); }

// Which of the four bytes of a word are those of the pattern, as four bits.
__device__ unsigned equal_bytes(unsigned word, unsigned pattern) {
    unsigned other = word ^ pattern, low = 0x7F7F7F7Fu;
    unsigned equal = ~(((other & low) + low) | other | low) >> 7;  // 1 in each byte that is equal
    return equal * 0x01020408u >> 24;
}

// Which of the 64 pixels from `x` on, at an address divisible by 16, are lane, as far as 16 at a time lie between
// `begin` and `end`. All are asked for before the first is waited for.
__device__ Bits lane_pixels(const unsigned char* row, int x, int begin, int end, unsigned pattern) {
    uint4 chunks[4];
    for (int i = 0, first = x; i < 4; ++i, first += 16) {
        chunks[i] = {~pattern, ~pattern, ~pattern, ~pattern};
        if (first >= begin && first + 16 <= end) chunks[i] = *reinterpret_cast<const uint4*>(row + first);
    }
    Bits bits = 0;
    for (int i = 0; i < 4; ++i) {
        bits |= Bits(equal_bytes(chunks[i].x, pattern) | equal_bytes(chunks[i].y, pattern) << 4) << 16 * i;
        bits |= Bits(equal_bytes(chunks[i].z, pattern) | equal_bytes(chunks[i].w, pattern) << 4) << (16 * i + 8);
    }
    return bits;
}

// One warp a sampled row, from the bottom up; each thread takes 64 neighbouring pixels at a time. `centres` (rows,
// MAX_RUNS) gets those of the runs of `lane_id`, then NO_RUN; a row so full of runs that it is noise has none.
extern "C" __global__ void lane_runs(const unsigned char* mask, int width, int height, int step, int lane_id,
                                     float* centres) {
    __shared__ int edges[2 * MAX_RUNS];  // where runs begin and, one behind their last pixel, end
    int lane = threadIdx.x, before = (height - 1 - int(blockIdx.x) * step) * width, count = 0, was_lane = 0;
    const unsigned char* row = mask + before;
    int first = -int(reinterpret_cast<size_t>(row) % 16), after = width * height - before;
    // Where the mask's own ends are not at an address divisible by 16, their pixels are read one by one.
    int tail = first + (after - first) / 16 * 16, single = (lane < 16 ? first : tail) + lane % 16;
    int pixel = single >= 0 && single < width ? row[single] : -1;
    for (int start = first; start <= width && count <= 2 * MAX_RUNS; start += 64 * 32) {
        int x = start + 64 * lane;
        Bits here = lane_pixels(row, x, -before, min(after, width + 15), lane_id * 0x01010101u);
        unsigned singles = __ballot_sync(ALL, pixel == lane_id);
        if (x == first) here = (here | (singles & 0xFFFF)) & ~Bits(0) << -x;
        if (x <= tail && tail < x + 64) here |= Bits(singles >> 16) << (tail - x);
        if (x + 64 > width) here &= x < width ? ~(~Bits(0) << (width - x)) : 0;
        int last = int(here >> 63), left = __shfl_up_sync(ALL, last, 1);
        Bits changes = here ^ (here << 1 | Bits(lane == 0 ? was_lane : left));  // where a pixel differs from the last
        int own = bits_set(changes), sum = own;
        for (int shift = 1; shift < 32; shift <<= 1) sum += __shfl_up_sync(ALL, sum, shift) * int(lane >= shift);
        for (int place = count + sum - own; changes && place < 2 * MAX_RUNS; changes &= changes - 1) {
            edges[place++] = x + bits_set(~changes & (changes - 1));
        }
        count += __shfl_sync(ALL, sum, 31), was_lane = __shfl_sync(ALL, last, 31);
    }
    __syncwarp();
    bool is_run = 2 * lane < count && count <= 2 * MAX_RUNS;
    float centre = is_run ? float(edges[2 * lane] + edges[2 * lane + 1] - 1) * 0.5f : NO_RUN;
    if (lane < MAX_RUNS) centres[blockIdx.x * MAX_RUNS + lane] = centre;
}

struct Image { int rows, height, step; double reach; float2* points; };

// A line that may go on: the columns and, a byte each and the last one lowest, the rows of its last three points,
// and by how much its column changes from pixel row to pixel row: 0 while it has less than four points.
struct Line {
    double last, second, third, slope;
    unsigned samples;
    int number, count;
    __device__ int rows_to(int sample) const { return sample - int(samples & 255); }
};

alignas(16) __shared__ float run_centres[MAX_ROWS * MAX_RUNS];
__shared__ double reciprocals[3 * MAX_GAP_ROWS + 1];  // of so many sampled rows in pixels
__shared__ Line open_lines[MAX_OPEN];                 // in the order in which they began
__shared__ double expected_columns[MAX_OPEN];
__shared__ int matches[MAX_OPEN];                      // the run with which an open line goes on, or -1
__shared__ short begins[MAX_ROWS * MAX_RUNS];          // the run with which a line began, by the line's number
__shared__ unsigned char counts[MAX_ROWS * MAX_RUNS];  // of points, by the line's number
__shared__ int chosen[MAX_LINES], good;

// Extrapolated from a few rows apart so that one ragged row cannot turn it. A sample is `step` rows above the one
// before. Rounded after each step, as on the host.
__device__ double expected_column(const Line& line, int sample, int step) {
    return __dadd_rn(line.last, __dmul_rn(line.slope, double(line.rows_to(sample) * step)));
}

__device__ void add_point(Line& line, int sample, double column, const Image& image) {
    if (++line.count >= 4) {
        // A division to the last bit, without waiting for one: a ratio of whole or half numbers this small is never so
        // near to the middle between two doubles that the rest's own rounding matters.
        int rows = sample - int(line.samples >> 16 & 255);
        double change = column - line.third, rough = __dmul_rn(change, reciprocals[rows]);
        line.slope = fma(fma(-rough, double(rows * image.step), change), reciprocals[rows], rough);
    }
    line.third = line.second, line.second = line.last, line.last = column;
    line.samples = line.samples << 8 | unsigned(sample);
    counts[line.number] = (unsigned char)line.count;
    float y = float(image.height - 1 - sample * image.step);
    image.points[line.number * image.rows + line.count - 1] = make_float2(float(column), y);
}

// The usual case: whether of 32 lines none has `ended`, nor is a run in reach of two or a line in reach of two runs.
// Then `match` gets the run of this thread's line, or -1, and `waiting` keeps the runs without a line.
__device__ bool match_clear(double expected, double centre, double reach, bool ended, unsigned& waiting, int& match) {
    unsigned near = 0, reached = 0, rivals = 0;
    for (int start = 0; waiting >> start; start += 4) {
        for (int run = start; run < start + 4; ++run) {
            unsigned lines = __ballot_sync(ALL, fabs(expected - __shfl_sync(ALL, centre, run)) <= reach);
            near |= (lines >> threadIdx.x & 1) << run;
            reached |= unsigned(lines != 0) << run;
            rivals |= lines & (lines - 1);
        }
    }
    if (__any_sync(ALL, ended || rivals || (near & (near - 1)))) return false;
    waiting &= ~reached;
    match = near ? __popc(near - 1) : -1;
    return true;
}

// The line nearest to a run, if none of the other runs that wait is nearer to that; else -1.
__device__ int nearest_line(int count, const float* row, int own_run, double nearest, unsigned waiting) {
    int match = -1;
    for (int i = 0; i < count; ++i) {
        double distance = fabs(expected_columns[i] - row[own_run]);
        if (matches[i] >= 0 || distance > nearest || (match >= 0 && distance == nearest)) continue;
        nearest = distance, match = i;
    }
    for (int run = 0; match >= 0 && waiting >> run; ++run) {
        double distance = fabs(expected_columns[match] - row[run]);
        bool is_nearer = distance < nearest || (distance == nearest && run < own_run);
        if (is_nearer && waiting >> run & 1) match = -1;
    }
    return match;
}

// Any case, in shared memory: drops the lines that ended too long ago and gives the number of the others, which go on
// in this row where they can; `waiting` keeps the runs without a line. A run and a line that are nearest to each other
// belong together: the same as going through all pairs by rising distance, in fewer turns.
__device__ int continue_lines(int count, int sample, const float* row, const Image& image, unsigned& waiting) {
    int lane = threadIdx.x, kept = 0;
    for (int start = 0; start < count; start += 32) {
        Line line = {};
        if (start + lane < count) line = open_lines[start + lane];
        bool is_kept = start + lane < count && line.rows_to(sample) <= MAX_GAP_ROWS;
        unsigned votes = __ballot_sync(ALL, is_kept);
        __syncwarp();  // a vote alone orders no memory
        int place = kept + votes_before(votes);
        double expected = expected_column(line, sample, image.step);
        if (is_kept) open_lines[place] = line, expected_columns[place] = expected, matches[place] = -1;
        kept += __popc(votes);
    }
    __syncwarp();
    for (unsigned matched = ALL; waiting && matched; waiting &= ~matched) {
        int match = waiting >> lane & 1 ? nearest_line(kept, row, lane, image.reach, waiting) : -1;
        matched = __ballot_sync(ALL, match >= 0);
        __syncwarp();
        if (match >= 0) matches[match] = lane;
        __syncwarp();
    }
    for (int i = lane; i < kept; i += 32) {
        if (matches[i] >= 0) add_point(open_lines[i], sample, row[matches[i]], image);
    }
    return kept;
}

// One warp goes up through the rows; each thread keeps one of the first 32 open lines. Gives the number of all lines.
__device__ int follow_lines(const Image& image) {
    int lane = threadIdx.x, open = 0, lines = 0;
    Line own = {};
    for (int start = 0; start < image.rows; start += 32) {
        bool has_runs = start + lane < image.rows && run_centres[(start + lane) * MAX_RUNS] != NO_RUN;
        for (unsigned left = __ballot_sync(ALL, has_runs); left; left &= left - 1) {
            int sample = start + __popc(~left & (left - 1)), match = -1;
            const float* row = run_centres + sample * MAX_RUNS;
            double centre = lane < MAX_RUNS ? row[lane] : NO_RUN;
            double expected = lane < open ? expected_column(own, sample, image.step) : NO_LINE;
            unsigned waiting = __ballot_sync(ALL, centre != NO_RUN);
            bool ended = lane < open && own.rows_to(sample) > MAX_GAP_ROWS;
            if (open <= 32 && match_clear(expected, centre, image.reach, ended, waiting, match)) {
                double column = __shfl_sync(ALL, centre, match & 31);
                if (match >= 0) add_point(own, sample, column, image);
            } else {
                if (lane < open) open_lines[lane] = own;
                open = continue_lines(open, sample, row, image, waiting);
                if (lane < open) own = open_lines[lane];
            }
            if (!waiting) continue;
            if (waiting >> lane & 1) {
                Line line = {0.0, 0.0, 0.0, 0.0, 0, lines + votes_before(waiting), 0};
                begins[line.number] = short(sample * MAX_RUNS + lane);
                add_point(line, sample, centre, image);
                open_lines[open + votes_before(waiting)] = line;
            }
            __syncwarp();
            if (lane >= open && lane < open + __popc(waiting)) own = open_lines[lane];
            open += __popc(waiting), lines += __popc(waiting);
        }
    }
    return lines;
}

// The lines that are long enough, in the order in which they began.
__device__ void choose_lines(int lines) {
    int lane = threadIdx.x, found = 0;
    __syncwarp();
    for (int start = 0; start < lines; start += 32) {
        bool is_good = start + lane < lines && counts[start + lane] >= MIN_ROWS;
        unsigned votes = __ballot_sync(ALL, is_good);
        int place = found + votes_before(votes);
        if (is_good && place < MAX_LINES) chosen[place] = start + lane;
        found += __popc(votes);
    }
    if (lane == 0) good = min(found, MAX_LINES);
}

// The first warp of one block follows all lines. `points` (rows x MAX_RUNS lines, rows, 2) is scratch. `lines`
// (MAX_LINES, 1 + rows, 2), from left to right: the number of points, then x y from near to far, zeros behind.
extern "C" __global__ void trace_lanes(const float4* __restrict__ runs, int rows, int height, int step, double reach,
                                       float2* __restrict__ points, float2* __restrict__ lines) {
    int thread = threadIdx.x, lane = thread % 32;
    for (int turn = 0; turn < MAX_RUNS * MAX_ROWS / 4; turn += TRACING_THREADS) {
        int i = turn + thread;
        if (i < MAX_RUNS / 4 * rows) reinterpret_cast<float4*>(run_centres)[i] = runs[i];
    }
    if (0 < thread && thread <= 3 * MAX_GAP_ROWS) reciprocals[thread] = 1.0 / double(thread * step);
    __syncthreads();
    if (thread < 32) choose_lines(follow_lines({rows, height, step, reach, points}));
    else for (int i = thread - 32; i < MAX_LINES * (1 + rows); i += TRACING_THREADS - 32) lines[i] = {};
    __syncthreads();
    for (int i = thread / 32; i < good; i += TRACING_THREADS / 32) {
        int line = chosen[i], count = counts[line];
        float first = run_centres[begins[line]], other = lane < good ? run_centres[begins[chosen[lane]]] : 0.0f;
        bool is_left = lane < good && (other < first || (other == first && lane < i));
        float2* target = lines + __popc(__ballot_sync(ALL, is_left)) * (1 + rows);
        if (lane == 0) target[0] = make_float2(float(count), 0.0f);
        float2 own[MAX_ROWS / 32];  // all of a line are asked for before the first is waited for
        for (int k = 0; k < MAX_ROWS; k += 32) if (k + lane < count) own[k / 32] = points[line * rows + k + lane];
        for (int k = 0; k < MAX_ROWS; k += 32) if (k + lane < count) target[1 + k + lane] = own[k / 32];
    }
}
