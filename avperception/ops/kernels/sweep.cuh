// Where a sweep's arrays are; not known when a graph is captured, for several sweeps take turns.
struct Sweep {
    const float* points;  // x y z in the target frame
    const bool* is_ground;
    const float* ground_height;
};
