// What is asked of the points behind a 2D box: ops/queries.py QUERY.
struct Query {
    double size[3], largest[2], origin[2], left, right;
    float box[4], image_size[2], focal, reach, reach_per_metre, longest;
    int min_points, is_compact;
};

const float EDGE = 3.0f;

__device__ bool is_cut(const Query& query, int axis) {
    return query.box[axis] < EDGE || query.box[axis + 2] > query.image_size[axis] - EDGE;
}
