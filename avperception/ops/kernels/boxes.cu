// A metric box from the points of an object, a block an object. Mirrors pipeline/box_fit.py.

#include "block.cuh"
#include "query.cuh"
#include "sweep.cuh"

const int THREADS = 256;
const int MAX_POINTS = 400;
const double RANGE_SIGMA = 0.05;
const double SQUARELY = 1e-6;  // [m]
const long long STRAY_PERCENT = 2;  // of the points may lie above the top
const double ALIKE = 1e-9;  // measures that differ by this part are equal: the first is taken
const double PI = 3.14159265358979323846;
const int COARSE = 30, FINE = 13;

// What the host gets of an object; the covariance is over x and y.
struct Box {
    double center[3], size[3], yaw;
    double covariance_xx, covariance_xy, covariance_yy, yaw_variance;
};

struct Vector {
    double x, y;
};

// A rectangle on the ground: its centre from the sensor, its length and width, what of them was seen.
struct Outline {
    Vector centre;
    double size[2], seen[2], yaw;
};

// An object's points, by their rows of a sweep.
struct Object {
    const int* rows;
    int count;
    const Sweep* sweep;
    const double* sensor;
    __device__ float at(int axis, int i) const { return sweep->points[3 * size_t(rows[i]) + axis]; }
    __device__ Vector ground_place(int i) const { return {at(0, i) - sensor[0], at(1, i) - sensor[1]}; }
    __device__ float nth(int axis, int place) const {
        return nth_smallest([this, axis](int i) { return at(axis, i); }, count, place);
    }
};

__device__ double radians(double degrees) { return degrees * (PI / 180); }

__device__ double wrapped(double angle) {
    double turned = fmod(angle + PI, 2 * PI);
    return (turned < 0 ? turned + 2 * PI : turned) - PI;
}

__device__ Vector turned(Vector v, double yaw) {
    double c = cos(yaw), s = sin(yaw);
    return {c * v.x - s * v.y, s * v.x + c * v.y};
}

template <class Better>
__device__ double reduced(double value, Better better) {
    for (int step = 16; step; step >>= 1) {
        double other = __shfl_xor_sync(ALL, value, step);
        value = better(value, other);
    }
    return value;
}

__device__ double least(double value) {
    return reduced(value, [](double a, double b) { return fmin(a, b); });
}
__device__ double greatest(double value) {
    return reduced(value, [](double a, double b) { return fmax(a, b); });
}

// How close points lie to two edges of the rectangle around them under a heading. By one warp.
__device__ double closeness(const Vector* points, int count, double yaw) {
    double c = cos(yaw), s = sin(yaw), far = 1e300;
    double low[2] = {far, far}, high[2] = {-far, -far}, sum = 0;
    for (int i = threadIdx.x % 32; i < count; i += 32) {
        double place[2] = {c * points[i].x + s * points[i].y, c * points[i].y - s * points[i].x};
        for (int k = 0; k < 2; ++k) low[k] = fmin(low[k], place[k]), high[k] = fmax(high[k], place[k]);
    }
    for (int k = 0; k < 2; ++k) low[k] = least(low[k]), high[k] = greatest(high[k]);
    for (int i = threadIdx.x % 32; i < count; i += 32) {
        double place[2] = {c * points[i].x + s * points[i].y, c * points[i].y - s * points[i].x};
        double edge = far;
        for (int k = 0; k < 2; ++k) edge = fmin(edge, fmin(place[k] - low[k], high[k] - place[k]));
        sum += 1 / fmax(edge, 0.03);
    }
    return reduced(sum, [](double a, double b) { return a + b; });
}

// Of `count` headings, `step` degrees apart from `first` [rad] on, the one of the greatest closeness.
__device__ double closest(const Vector* points, int point_count, double first, double step, int count) {
    __shared__ double sums[COARSE > FINE ? COARSE : FINE];
    __syncthreads();
    for (int i = threadIdx.x / 32; i < count; i += THREADS / 32) {
        double sum = closeness(points, point_count, first + radians(i * step));
        if (threadIdx.x % 32 == 0) sums[i] = sum;
    }
    __syncthreads();
    double most = 0;
    for (int i = 0; i < count; ++i) most = fmax(most, sums[i]);
    int best = 0;
    while (sums[best] < most * (1 - ALIKE)) ++best;
    return first + radians(best * step);
}

__device__ double heading(const Object& object) {
    __shared__ Vector some[MAX_POINTS];
    int step = (object.count + MAX_POINTS - 1) / MAX_POINTS, count = (object.count + step - 1) / step;
    for (int i = threadIdx.x; i < count; i += blockDim.x) some[i] = object.ground_place(i * step);
    double coarse = closest(some, count, 0, 3.0, COARSE);
    return closest(some, count, coarse - radians(3.0), 0.5, FINE);
}

// The extent of the points along and across a heading.
__device__ void measure(const Object& object, double yaw, double low[2], double high[2]) {
    __shared__ double parts[4][THREADS / 32];
    double c = cos(yaw), s = sin(yaw), far = 1e300;
    double limits[4] = {far, far, -far, -far};
    for (int i = threadIdx.x; i < object.count; i += blockDim.x) {
        Vector point = object.ground_place(i);
        double place[2] = {point.x * c + point.y * s, point.y * c - point.x * s};
        for (int k = 0; k < 2; ++k)
            limits[k] = fmin(limits[k], place[k]), limits[k + 2] = fmax(limits[k + 2], place[k]);
    }
    __syncthreads();
    for (int k = 0; k < 4; ++k) {
        double limit = k < 2 ? least(limits[k]) : greatest(limits[k]);
        if (threadIdx.x % 32 == 0) parts[k][threadIdx.x / 32] = limit;
    }
    __syncthreads();
    for (int k = 0; k < 2; ++k) {
        low[k] = parts[k][0], high[k] = parts[k + 2][0];
        for (int i = 1; i < THREADS / 32; ++i)
            low[k] = fmin(low[k], parts[k][i]), high[k] = fmax(high[k], parts[k + 2][i]);
    }
}

// The side that was not seen is filled up to what is typical, away from the sensor, at the origin.
__device__ Outline completed(const Object& object, const Query& query, double yaw) {
    double low[2], high[2], centre[2];
    measure(object, yaw, low, high);
    Outline outline;
    outline.yaw = yaw;
    for (int k = 0; k < 2; ++k) {
        double seen = high[k] - low[k], size = seen, typical = query.size[k];
        if (typical > 0) size = query.is_compact ? typical : fmin(fmax(seen, typical), query.largest[k]);
        double away = low[k] > SQUARELY ? 1 : high[k] < -SQUARELY ? -1 : 0;
        outline.seen[k] = seen, outline.size[k] = size;
        centre[k] = (low[k] + high[k]) / 2 + away * (size - seen) / 2;
    }
    outline.centre = turned({centre[0], centre[1]}, yaw);
    return outline;
}

// How badly the seen length and width fit the class [m]: too short is only not seen.
__device__ double misfit(const Query& query, const Outline& outline) {
    double over = 0, under = 0;
    for (int k = 0; k < 2; ++k) {
        over += fmax(outline.seen[k] - 1.1 * query.size[k], 0.0);
        under += fmax(query.size[k] - outline.seen[k], 0.0);
    }
    return 3 * over + under;
}

// By how much the corners miss the two bearings of the 2D box, at their own range [m].
__device__ double misfit_of_sight(const Query& query, const Outline& outline, const double* sensor) {
    Vector from_origin[4], middle = {0, 0};
    for (int i = 0; i < 4; ++i) {
        double along = (i < 2 ? 0.5 : -0.5) * outline.size[0], across = (i % 3 ? -0.5 : 0.5) * outline.size[1];
        Vector corner = turned({along, across}, outline.yaw);
        from_origin[i] = {corner.x + outline.centre.x - (query.origin[0] - sensor[0]),
                          corner.y + outline.centre.y - (query.origin[1] - sensor[1])};
        middle.x += from_origin[i].x / 4, middle.y += from_origin[i].y / 4;
    }
    double zero = atan2(middle.y, middle.x), left = -10, right = 10, missed = 0;
    for (int i = 0; i < 4; ++i) {
        double bearing = wrapped(atan2(from_origin[i].y, from_origin[i].x) - zero);
        left = fmax(left, bearing), right = fmin(right, bearing);
    }
    if (!isnan(query.left)) missed += fabs(left - wrapped(query.left - zero));
    if (!isnan(query.right)) missed += fabs(right - wrapped(query.right - zero));
    return missed * sqrt(middle.x * middle.x + middle.y * middle.y);
}

__device__ Outline outline_of(const Object& object, const Query& query) {
    if (query.is_compact) {
        // The heading along the line of sight: its own the points do not tell.
        int middle = (object.count - 1) / 2;
        double x = object.nth(0, middle) - object.sensor[0], y = object.nth(1, middle) - object.sensor[1];
        return completed(object, query, atan2(y, x));
    }
    double yaw = heading(object);
    Outline one = completed(object, query, yaw), other = completed(object, query, yaw + PI / 2);
    double cost = misfit(query, one) + misfit_of_sight(query, one, object.sensor);
    double other_cost = misfit(query, other) + misfit_of_sight(query, other, object.sensor);
    return other_cost < cost * (1 - ALIKE) ? other : one;
}

__device__ void fill_covariance(Box& box, const Outline& outline, int count, bool is_compact) {
    double variances[2], c = cos(outline.yaw), s = sin(outline.yaw);
    for (int k = 0; k < 2; ++k) {
        double unseen = fmax(outline.size[k] - outline.seen[k], 0.0) / 2;
        variances[k] = RANGE_SIGMA * RANGE_SIGMA + unseen * unseen / 3 + outline.size[k] * outline.size[k] / 12 / count;
    }
    box.covariance_xx = c * c * variances[0] + s * s * variances[1];
    box.covariance_xy = c * s * (variances[0] - variances[1]);
    box.covariance_yy = s * s * variances[0] + c * c * variances[1];
    double spread = atan2(3 * RANGE_SIGMA, fmax(fmax(outline.seen[0], outline.seen[1]), 0.1));
    double uniform = PI * PI / 12;
    box.yaw_variance = is_compact ? uniform : fmin(spread * spread + 1.0 / count, uniform);
}

// One block of THREADS a box of the lists: fits the objects' boxes, and copies their rows behind each other to
// `host_rows`, by `object_offsets`, the sums of the counts, which go to `host_offsets` with the points of all lists.
extern "C" __global__ void fit_boxes(const int* rows, const int* offsets, const int* hidden_offsets, int capacity,
                                     const int* object_offsets, int boxes, const Query* queries,
                                     const Sweep* sweep, const double* sensor, Box* host_boxes, int* host_offsets,
                                     int* host_rows) {
    const Query& query = queries[blockIdx.x];
    int first = object_offsets[blockIdx.x], count = object_offsets[blockIdx.x + 1] - first;
    if (threadIdx.x == 0) host_offsets[blockIdx.x] = first;
    if (threadIdx.x == 0 && blockIdx.x == 0) {
        host_offsets[boxes] = object_offsets[boxes];
        host_offsets[boxes + 1] = offsets[boxes];
        host_offsets[boxes + 2] = hidden_offsets[boxes];
    }
    if (!count) return;
    rows += size_t(min(offsets[blockIdx.x], capacity)) + min(hidden_offsets[blockIdx.x], capacity);
    for (int i = threadIdx.x; i < count; i += blockDim.x) host_rows[first + i] = rows[i];
    Object object{rows, count, sweep, sensor};
    double ground =
        nth_smallest([&](int i) { return sweep->ground_height[rows[i]]; }, count, (count - 1) / 2);
    double top = object.nth(2, count - 1 - int(STRAY_PERCENT * count / 100));
    Outline outline = outline_of(object, query);
    if (threadIdx.x) return;
    Box box;
    double height = fmax(top - ground, 0.2);
    box.center[0] = outline.centre.x + sensor[0];
    box.center[1] = outline.centre.y + sensor[1];
    box.center[2] = ground + height / 2;
    for (int k = 0; k < 2; ++k) box.size[k] = fmax(outline.size[k], 0.1);
    box.size[2] = height;
    double half_turns = fmod(outline.yaw + PI / 2, PI);
    box.yaw = (half_turns < 0 ? half_turns + PI : half_turns) - PI / 2;
    fill_covariance(box, outline, count, query.is_compact);
    host_boxes[blockIdx.x] = box;
}
