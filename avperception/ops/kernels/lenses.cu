// Camera lenses: points to pixels. Mirrors ops/cpu/lenses.py `project_points` and `distort`.

#include "sweep.cuh"

// A camera as ops/gpu/lenses.py packs it, all in double precision. `D` holds OpenCV's coefficients in its order,
// zeros behind the last; `tilt` (3, 3) is the sensor's; T (3, 4) maps points to the camera.
struct Lens {
    double fx, fy, cx, cy, skew;
    double D[12];
    double tilt[9];
    double limit, width, height, model;
    double T[12];
};

enum Model { PINHOLE, POLYNOMIAL, EQUIDISTANT };

// OpenCV's model of radial, tangential, thin prism and tilted sensor distortion (its calib3d documentation).
__device__ double2 polynomial(const Lens& lens, double x, double y) {
    const double* k = lens.D;
    double r2 = x * x + y * y, r4 = r2 * r2, r6 = r4 * r2;
    double radial = (1 + k[0] * r2 + k[1] * r4 + k[4] * r6) * (1 / (1 + k[5] * r2 + k[6] * r4 + k[7] * r6));
    double both = 2 * x * y;
    double u = x * radial + k[2] * both + k[3] * (r2 + 2 * x * x) + k[8] * r2 + k[9] * r4;
    double v = y * radial + k[2] * (r2 + 2 * y * y) + k[3] * both + k[10] * r2 + k[11] * r4;
    const double* t = lens.tilt;
    double w = t[6] * u + t[7] * v + t[8];
    double scale = w != 0 ? 1 / w : 1;
    return make_double2((t[0] * u + t[1] * v + t[2]) * scale, (t[3] * u + t[4] * v + t[5]) * scale);
}

// Kannala and Brandt's fisheye, as REP-104 and OpenCV have it.
__device__ double2 equidistant(const Lens& lens, double x, double y) {
    double radius = sqrt(x * x + y * y), theta = atan(radius), theta2 = theta * theta;
    double bent = 1 + theta2 * (lens.D[0] + theta2 * (lens.D[1] + theta2 * (lens.D[2] + theta2 * lens.D[3])));
    double factor = radius > 1e-8 ? theta * bent / radius : 1;
    return make_double2(x * factor, y * factor);
}

// Tell whether a point of the optical frame is in the image, and where.
__device__ bool project(const Lens& lens, float x, float y, float z, float2& pixel) {
    float limit = float(lens.limit), reach = __fmul_rn(limit, z);
    if (!(z > 0.1f && fabsf(x) <= reach && fabsf(y) <= reach)) return false;
    double a = __fdiv_rn(x, z), b = __fdiv_rn(y, z), u, v;
    if (!(sqrt(a * a + b * b) <= double(limit))) return false;
    if (lens.model == PINHOLE) {
        u = __dadd_rn(__dadd_rn(__dmul_rn(a, lens.fx), __dmul_rn(b, lens.skew)), lens.cx);
        v = __dadd_rn(__dmul_rn(b, lens.fy), lens.cy);
    } else {
        double2 bent = lens.model == EQUIDISTANT ? equidistant(lens, a, b) : polynomial(lens, a, b);
        u = __dadd_rn(__dmul_rn(bent.x, lens.fx), lens.cx);
        v = __dadd_rn(__dmul_rn(bent.y, lens.fy), lens.cy);
    }
    if (!(u >= -0.5 && v >= -0.5 && u < lens.width - 0.5 && v < lens.height - 0.5)) return false;
    pixel = make_float2(float(u), float(v));
    return true;
}

// Points (N, 3) of the camera's own frame; a point outside the image gets NaN.
extern "C" __global__ void project_points(const float* points, int count, const Lens* lens, float2* pixels) {
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= count) return;
    float2 pixel = make_float2(nanf(""), nanf(""));
    project(*lens, points[3 * row], points[3 * row + 1], points[3 * row + 2], pixel);
    pixels[row] = pixel;
}

__device__ float transformed(const double* row, float x, float y, float z) {
    float sum = __fadd_rn(__fmul_rn(x, float(row[0])), __fmul_rn(y, float(row[1])));
    return __fadd_rn(__fadd_rn(sum, __fmul_rn(z, float(row[2]))), float(row[3]));
}

// The obstacles of a sweep of `count` points into every camera of the grid's y that has a region: `pixels`
// (cameras, count, 2) as boxes count them, half a pixel further than the lens does; NaN for ground and for what is
// outside of the image.
extern "C" __global__ void project_obstacles(const Sweep* sweep, int count, const Lens* lenses,
                                             const int* first_regions, float2* pixels) {
    __shared__ Lens lens;
    if (first_regions[blockIdx.y] == first_regions[blockIdx.y + 1]) return;
    const float* points = sweep->points;
    const double* source = reinterpret_cast<const double*>(lenses + blockIdx.y);
    double* target = reinterpret_cast<double*>(&lens);
    for (int i = threadIdx.x; i < sizeof(Lens) / sizeof(double); i += blockDim.x) target[i] = source[i];
    __syncthreads();
    int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= count) return;
    float2 pixel = make_float2(nanf(""), nanf(""));
    float x = points[3 * row], y = points[3 * row + 1], z = points[3 * row + 2];
    if (!sweep->is_ground[row] &&
        project(lens, transformed(lens.T, x, y, z), transformed(lens.T + 4, x, y, z),
                transformed(lens.T + 8, x, y, z), pixel))
        pixel = make_float2(__fadd_rn(pixel.x, 0.5f), __fadd_rn(pixel.y, 0.5f));
    pixels[size_t(blockIdx.y) * count + row] = pixel;
}

// What fusion needs of gathered points: `columns` (9, capacity) are x y z, the ground below, pixel, depth, distance
// and row. `offsets` (lists + 1) say where each list begins in `rows`; a list belongs to a camera by `first_lists`
// (cameras + 1).
extern "C" __global__ void describe_points(const int* rows, const int* offsets, int lists, const int* first_lists,
                                           const Lens* lenses, const Sweep* sweep, const float2* pixels, int count,
                                           int capacity, float* columns) {
    const float* points = sweep->points;
    int total = min(offsets[lists], capacity);
    for (int place = blockIdx.x * blockDim.x + threadIdx.x; place < total; place += gridDim.x * blockDim.x) {
        int row = rows[place], camera = 0;
        while (offsets[first_lists[camera + 1]] <= place) ++camera;
        float x = points[3 * row], y = points[3 * row + 1], z = points[3 * row + 2];
        float2 pixel = pixels[size_t(camera) * count + row];
        const double* T = lenses[camera].T;
        float u = transformed(T, x, y, z), v = transformed(T + 4, x, y, z), depth = transformed(T + 8, x, y, z);
        float distance = __fsqrt_rn(__fadd_rn(__fadd_rn(__fmul_rn(u, u), __fmul_rn(v, v)), __fmul_rn(depth, depth)));
        float values[8] = {x, y, z, sweep->ground_height[row], pixel.x, pixel.y, depth, distance};
        for (int k = 0; k < 8; ++k) columns[size_t(k) * capacity + place] = values[k];
        columns[size_t(8) * capacity + place] = __int_as_float(row);
    }
}
