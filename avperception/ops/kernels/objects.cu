// Which of the points behind 2D boxes are the objects', a block a box. Mirrors ops/cpu/objects.py and linking.py.

#include "block.cuh"
#include "linking.cuh"
#include "query.cuh"
#include "sweep.cuh"

const int THREADS = 512;
const int GRID = 12;
const int CELL_WORDS = (GRID * GRID + 31) / 32;
const int LEVELS = SPLITS + 1;
const double CLOSE = 0.8;
const double HEIGHT_SPREAD = 0.35;

enum Column { X, Y, Z, GROUND, U, V, DEPTH, DISTANCE, ROW };

// Gathered points as `describe_points` writes them: columns of `capacity`, from the first of one box on.
struct Points {
    const float* columns;
    size_t capacity;
    __device__ float at(Column column, int i) const { return columns[column * capacity + i]; }
    __device__ int row(int i) const { return __float_as_int(at(ROW, i)); }
};

// What is known of a group of points. `low` and `high` are x y u v, as `ordered`.
struct Group {
    double depth, distance;  // sums
    int count, is_too_long;
    unsigned low[4], high[4];
    unsigned cells[CELL_WORDS];

    __device__ void clear() {
        depth = distance = 0;
        count = is_too_long = 0;
        for (int k = 0; k < 4; ++k) low[k] = ALL, high[k] = 0;
        for (int k = 0; k < CELL_WORDS; ++k) cells[k] = 0;
    }
    __device__ void add(const Points& points, int i, int cell) {
        ++count;
        depth += points.at(DEPTH, i);
        distance += points.at(DISTANCE, i);
        for (int k = 0; k < 4; ++k) {
            unsigned key = ordered(points.at(k < 2 ? Column(X + k) : Column(U + k - 2), i));
            low[k] = min(low[k], key), high[k] = max(high[k], key);
        }
        for (int k = 0; k < CELL_WORDS; ++k)
            if (k == cell / 32) cells[k] |= 1u << cell % 32;
    }
    __device__ void add_to(Group& whole) const {
        atomicAdd(&whole.count, count);
        atomicAdd(&whole.depth, depth);
        atomicAdd(&whole.distance, distance);
        for (int k = 0; k < 4; ++k) {
            atomicMin(&whole.low[k], low[k]);
            atomicMax(&whole.high[k], high[k]);
        }
        for (int k = 0; k < CELL_WORDS; ++k)
            if (cells[k]) atomicOr(&whole.cells[k], cells[k]);
    }
    __device__ float extent(int k) const { return __fsub_rn(unordered(high[k]), unordered(low[k])); }
    __device__ float length() const {
        float x = extent(0), y = extent(1);
        return __fsqrt_rn(__fadd_rn(__fmul_rn(x, x), __fmul_rn(y, y)));
    }
};

// A group that may be the object; no other has a score from 0 on.
struct Candidate {
    double score, distance;
};

// Memory for the points of a box, in each array from its first point on, that of `cells` from twice that.
struct Scratch {
    Cells cells;
    Group* groups;
    Candidate* candidates;  // LEVELS of `stride`, as counts and labels
    int *counts, *labels, *slots, *owners;
    size_t stride;
};

__device__ int cell_in_box(const Query& query, float u, float v) {
    float pixel[2] = {u, v};
    int cell[2];
    for (int k = 0; k < 2; ++k) {
        float size = fmaxf(__fsub_rn(query.box[k + 2], query.box[k]), 1e-3f);
        float place = __fmul_rn(__fdiv_rn(__fsub_rn(pixel[k], query.box[k]), size), float(GRID));
        cell[k] = int(fminf(fmaxf(place, 0.0f), float(GRID - 1)));
    }
    return cell[0] * GRID + cell[1];
}

// What the covered cells of a box weigh: the more, the more central they are.
__device__ double covered(const unsigned* cells) {
    double sum = 0;
    for (int cell = 0; cell < GRID * GRID; ++cell)
        if (cells[cell / 32] >> cell % 32 & 1)
            sum += (1 - fabs((cell / GRID + 0.5) / GRID * 2 - 1)) * (1 - fabs((cell % GRID + 0.5) / GRID * 2 - 1));
    return sum;
}

__device__ double overlap(const Query& query, const Group& group) {
    double common = 1, own = 1, box = 1;
    for (int k = 0; k < 2; ++k) {
        float low = unordered(group.low[k + 2]), high = unordered(group.high[k + 2]);
        float inner = fminf(high, query.box[k + 2]) - fmaxf(low, query.box[k]);
        if (inner <= 0) return 1e-3;
        common *= inner, own *= high - low, box *= query.box[k + 2] - query.box[k];
    }
    return common / (own + box - common);
}

__device__ double likeness(const Query& query, const Group& group) {
    if (query.size[2] <= 0) return 1;
    double excess = fmax(0.0, double(group.length()) / query.longest - 1);
    double height = (query.box[3] - query.box[1]) * (group.depth / group.count) / query.focal;
    double ratio = log(fmax(height, 0.01) / query.size[2]);
    if (ratio < 0 && is_cut(query, 1)) ratio = 0;
    return exp(-excess * excess / 0.5 - 0.5 * (ratio / HEIGHT_SPREAD) * (ratio / HEIGHT_SPREAD));
}

// Part those points whose owner is not -1 into groups, and tell what speaks for each; true if one is too long.
__device__ bool try_reach(const Query& query, const Points& points, int count, const Scratch& scratch, int level,
                          float reach, double everything) {
    int* labels = scratch.labels + level * scratch.stride;
    int* counts = scratch.counts + level * scratch.stride;
    const int* counts_before = counts - scratch.stride;
    Candidate* candidates = scratch.candidates + level * scratch.stride;
    link_points(
        scratch.cells, count, [&](int i) { return scratch.owners[i]; },
        [&](int i) { return make_float2(points.at(X, i), points.at(Y, i)); }, reach, scratch.slots, labels);
    for (int i = threadIdx.x; i < count; i += blockDim.x)
        if (labels[i] == i) scratch.groups[i].clear();
    __syncthreads();
    Group own;
    int current = -1;  // neighbours are mostly of one group: what they give is added up before
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        if (labels[i] < 0) continue;
        if (labels[i] != current) {
            if (current >= 0) own.add_to(scratch.groups[current]);
            own.clear();
            current = labels[i];
        }
        own.add(points, i, cell_in_box(query, points.at(U, i), points.at(V, i)));
    }
    if (current >= 0) own.add_to(scratch.groups[current]);
    __syncthreads();
    bool any_too_long = false;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        if (labels[i] != i) continue;
        Group& group = scratch.groups[i];
        counts[i] = group.count;
        bool has_enough = group.count >= query.min_points;
        bool is_new = level == 0 || group.count < counts_before[scratch.owners[i]];
        group.is_too_long = has_enough && group.length() > query.longest;
        any_too_long |= group.is_too_long;
        candidates[i].distance = group.distance / group.count;
        candidates[i].score = -1;
        if (has_enough && is_new)
            candidates[i].score =
                overlap(query, group) * sqrt(covered(group.cells) / everything) * likeness(query, group);
    }
    bool remains = __syncthreads_count(any_too_long) > 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x)
        scratch.owners[i] = labels[i] >= 0 && scratch.groups[labels[i]].is_too_long ? labels[i] : -1;
    __syncthreads();
    return remains;
}

// The best of the candidates; of those that come close, the nearest; of several, the first. -1 for none, else
// level * count + place.
__device__ long long best_candidate(const Scratch& scratch, int levels, int count) {
    __shared__ unsigned long long best, nearest, winner;
    if (threadIdx.x == 0) best = 0, nearest = winner = EMPTY;
    __syncthreads();
    auto each = [&](auto use) {
        for (int level = 0; level < levels; ++level)
            for (int i = threadIdx.x; i < count; i += blockDim.x) {
                size_t place = level * scratch.stride + i;
                if (scratch.labels[place] == i && scratch.candidates[place].score >= 0)
                    use(scratch.candidates[place], (unsigned long long)level * count + i);
            }
        __syncthreads();
    };
    // No double here is negative: their bits are of the same order.
    auto bits = [](double value) { return (unsigned long long)__double_as_longlong(value); };
    each([&](const Candidate& one, unsigned long long) { atomicMax(&best, bits(one.score)); });
    double close = CLOSE * __longlong_as_double((long long)best);
    each([&](const Candidate& one, unsigned long long) {
        if (one.score >= close) atomicMin(&nearest, bits(one.distance));
    });
    each([&](const Candidate& one, unsigned long long place) {
        if (one.score >= close && bits(one.distance) == nearest) atomicMin(&winner, place);
    });
    return (long long)winner;
}

// A circle on the ground around an object that the edge of the image cuts off, none around others, and the reach by
// which points there may be linked with it.
__device__ void look_around(const Query& query, const Points& points, const int* places, int count,
                            const double* sensor, float4& circle, float& reach) {
    bool asks = (is_cut(query, 0) || is_cut(query, 1)) && count && isfinite(query.longest);
    float middle[3] = {};
    for (int k = 0; asks && k < 3; ++k)
        middle[k] = nth_smallest([&](int i) { return points.at(Column(X + k), places[i]); }, count, (count - 1) / 2);
    if (threadIdx.x) return;
    double square = 0;
    for (int k = 0; k < 3; ++k) square += (middle[k] - sensor[k]) * (middle[k] - sensor[k]);
    float radius_square = asks ? float(double(query.longest) * query.longest) : 0.0f;
    circle = make_float4(middle[0], middle[1], radius_square, 0.0f);
    reach = __fadd_rn(query.reach, __fmul_rn(query.reach_per_metre, float(sqrt(square))));
}

// For each box of the lists at `offsets`: the places in its list of the points that are its object, in order, at
// `places`, and how many; where to look for hidden points of it, and the reach there.
extern "C" __global__ void choose_objects(const float* columns, const int* offsets, int capacity,
                                          const Query* queries, const double* sensor, unsigned long long* keys,
                                          int* parents, int* firsts, Group* groups, Candidate* candidates,
                                          int* counts, int* labels, int* slots, int* owners, int* places,
                                          int* object_counts, float4* circles, float* reaches) {
    __shared__ unsigned all_cells[CELL_WORDS];
    const Query& query = queries[blockIdx.x];
    int begin = min(offsets[blockIdx.x], capacity), count = min(offsets[blockIdx.x + 1], capacity) - begin;
    if (count == 0 || count < query.min_points) {
        if (threadIdx.x == 0) object_counts[blockIdx.x] = 0, circles[blockIdx.x] = make_float4(0, 0, 0, 0);
        return;
    }
    Points points{columns + begin, size_t(capacity)};
    size_t twice = 2 * size_t(begin);
    Scratch scratch{{keys + twice, parents + twice, firsts + twice, 2 * count},
                    groups + begin, candidates + begin, counts + begin, labels + begin, slots + begin, owners + begin,
                    size_t(capacity)};
    if (threadIdx.x < CELL_WORDS) all_cells[threadIdx.x] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        int cell = cell_in_box(query, points.at(U, i), points.at(V, i));
        atomicOr(&all_cells[cell / 32], 1u << cell % 32);
        scratch.owners[i] = 0;
    }
    // A fifth of the points are no farther away than this.
    float distance = nth_smallest([&](int i) { return points.at(DISTANCE, i); }, count, (count - 1) / 5);
    float reach = __fadd_rn(query.reach, __fmul_rn(query.reach_per_metre, distance));
    double everything = covered(all_cells);
    int levels = 0;
    for (bool remains = true; remains && levels < LEVELS; ++levels) {
        remains = try_reach(query, points, count, scratch, levels, reach, everything);
        reach = __fmul_rn(reach, SHORTER);
    }
    long long best = best_candidate(scratch, levels, count);
    int total = 0, own = 0;
    for (int start = 0; best >= 0 && start < count; start += THREADS, own += total) {
        int i = start + threadIdx.x, label = int(best % count);
        bool is_object = i < count && scratch.labels[best / count * scratch.stride + i] == label;
        int place = own + sum_before<THREADS>(is_object, total);
        if (is_object) places[begin + place] = i;
    }
    __syncthreads();
    if (threadIdx.x == 0) object_counts[blockIdx.x] = own;
    look_around(query, points, places + begin, own, sensor, circles[blockIdx.x], reaches[blockIdx.x]);
}

// ---------------------------------------------------------------------------------------------
// Beyond the image

// An object's own points, then those hidden around it that may be more of it.
struct Pair {
    Points points;
    const int* places;
    int own;
    const Sweep* sweep;
    const int* hidden_rows;
    __device__ int row(int i) const { return i < own ? points.row(places[i]) : hidden_rows[i - own]; }
    __device__ float2 place(int i) const {
        if (i < own) return make_float2(points.at(X, places[i]), points.at(Y, places[i]));
        const float* point = sweep->points + 3 * size_t(hidden_rows[i - own]);
        return make_float2(point[0], point[1]);
    }
};

// The label of the group with most of an object's own points, of several the first.
__device__ int group_of_most(const int* labels, int own, int count, int* tally) {
    __shared__ unsigned long long most;
    if (threadIdx.x == 0) most = 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) tally[i] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < own; i += blockDim.x) atomicAdd(&tally[labels[i]], 1);
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += blockDim.x)
        if (tally[i]) atomicMax(&most, (unsigned long long)tally[i] << 32 | (ALL - unsigned(i)));
    __syncthreads();
    return int(ALL - unsigned(most & ALL));
}

__device__ float length_of_group(const Pair& pair, const int* labels, int label, int count) {
    __shared__ unsigned low[2], high[2];
    if (threadIdx.x < 2) low[threadIdx.x] = ALL, high[threadIdx.x] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        if (labels[i] != label) continue;
        float2 place = pair.place(i);
        atomicMin(&low[0], ordered(place.x)), atomicMax(&high[0], ordered(place.x));
        atomicMin(&low[1], ordered(place.y)), atomicMax(&high[1], ordered(place.y));
    }
    __syncthreads();
    float x = __fsub_rn(unordered(high[0]), unordered(low[0])), y = __fsub_rn(unordered(high[1]), unordered(low[1]));
    return __fsqrt_rn(__fadd_rn(__fmul_rn(x, x), __fmul_rn(y, y)));
}

// How many of rising values are less than another.
__device__ int rank_of(int value, const int* values, int count) {
    int low = 0;
    while (low < count) {
        int middle = (low + count) / 2;
        if (values[middle] < value) low = middle + 1;
        else count = middle;
    }
    return low;
}

// The rows of each object, rising, from offsets[box] + hidden_offsets[box] on in `rows`, and how many: its own
// points, and those hidden ones that are linked with most of them by a reach that does not make it too long.
extern "C" __global__ void join_hidden(const float* columns, const int* offsets, int capacity, const int* places,
                                       int* object_counts, const Query* queries, const float* reaches,
                                       const Sweep* sweep, const int* hidden_rows, const int* hidden_offsets,
                                       unsigned long long* keys, int* parents, int* firsts, int* slots, int* labels,
                                       int* tallies, int* rows) {
    int begin = min(offsets[blockIdx.x], capacity), own = object_counts[blockIdx.x];
    int hidden_begin = min(hidden_offsets[blockIdx.x], capacity);
    int hidden = own ? min(hidden_offsets[blockIdx.x + 1], capacity) - hidden_begin : 0, count = own + hidden;
    if (!own) return;
    size_t first = size_t(begin) + hidden_begin;
    Pair pair{{columns + begin, size_t(capacity)}, places + begin, own, sweep, hidden_rows + hidden_begin};
    int *label = labels + first, *kept = slots + first, *tally = tallies + first;
    Cells cells{keys + 2 * first, parents + 2 * first, firsts + 2 * first, 2 * count};
    float reach = reaches[blockIdx.x];
    int linked = -1;
    for (int i = 0; i < SPLITS && hidden && linked < 0; ++i, reach = __fmul_rn(reach, SHORTER)) {
        link_points(
            cells, count, [](int) { return 0; }, [&](int i) { return pair.place(i); }, reach, kept, label);
        int most = group_of_most(label, own, count, tally);
        if (length_of_group(pair, label, most, count) <= queries[blockIdx.x].longest) linked = most;
    }
    // Both lists rise: a row's place is its own place and that in the other list. Rows of joined points first.
    int joined = 0, total;
    for (int start = own; linked >= 0 && start < count; start += THREADS, joined += total) {
        int i = start + threadIdx.x;
        bool is_joined = i < count && label[i] == linked;
        int place = joined + sum_before<THREADS>(is_joined, total);
        if (is_joined) kept[place] = pair.row(i);
    }
    int* own_rows = tally;
    for (int i = threadIdx.x; i < own; i += blockDim.x) own_rows[i] = pair.row(i);
    __syncthreads();
    for (int i = threadIdx.x; i < own; i += blockDim.x)
        rows[first + i + rank_of(own_rows[i], kept, joined)] = own_rows[i];
    for (int i = threadIdx.x; i < joined; i += blockDim.x)
        rows[first + i + rank_of(kept[i], own_rows, own)] = kept[i];
    if (threadIdx.x == 0) object_counts[blockIdx.x] = own + joined;
}
