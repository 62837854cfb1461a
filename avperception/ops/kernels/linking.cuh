// Groups of points that belong together on the ground, for one block. Mirrors ops/cpu/linking.py `link_points`.

const int CELLS_OF_REACH = 4;
const int SPLITS = 3;
const float SHORTER = 0.6f;
const int CELL_BITS = 21;
const float CELL_LIMIT = (1 << (CELL_BITS - 1)) - CELLS_OF_REACH - 1;
const unsigned long long EMPTY = ~0ull;

typedef unsigned long long Key;

// A hash table of cells, whose entries are also a forest: the entries of one tree are one group.
struct Cells {
    Key* keys;
    int* parents;
    int* firsts;  // the first point of a cell, then of a tree
    int size;

    __device__ int slot(Key key) const {
        Key mixed = key * 0x9E3779B97F4A7C15ull;
        return int((mixed ^ mixed >> 32) % unsigned(size));
    }
    __device__ int next(int slot) const { return slot + 1 == size ? 0 : slot + 1; }

    __device__ void clear() {
        for (int i = threadIdx.x; i < size; i += blockDim.x) {
            keys[i] = EMPTY;
            parents[i] = i;
            firsts[i] = 0x7FFFFFFF;
        }
    }
    __device__ int insert(Key key) {
        int place = slot(key);
        for (;; place = next(place)) {
            Key old = atomicCAS(&keys[place], EMPTY, key);
            if (old == EMPTY || old == key) return place;
        }
    }
    __device__ int find(Key key) const {
        for (int place = slot(key);; place = next(place)) {
            if (keys[place] == key) return place;
            if (keys[place] == EMPTY) return -1;
        }
    }
    __device__ int root(int node) const {
        const volatile int* now = parents;  // others unite trees meanwhile
        while (now[node] != node) node = now[node];
        return node;
    }
    __device__ void unite(int a, int b) {
        for (;;) {
            a = root(a), b = root(b);
            if (a == b) return;
            int high = max(a, b), low = min(a, b);
            if (atomicCAS(&parents[high], high, low) == high) return;
        }
    }
};

__device__ Key cell_of(int owner, float x, float y, float reach) {
    float size = __fdiv_rn(reach, float(CELLS_OF_REACH));
    float column = fminf(fmaxf(floorf(__fdiv_rn(x, size)), -CELL_LIMIT), CELL_LIMIT);
    float row = fminf(fmaxf(floorf(__fdiv_rn(y, size)), -CELL_LIMIT), CELL_LIMIT);
    int half = 1 << (CELL_BITS - 1);
    return Key(owner) << 2 * CELL_BITS | Key(int(column) + half) << CELL_BITS | Key(int(row) + half);
}

// Label each of `count` points by the first point of its group, -1 if owner(i) is. `cells` has room for twice the
// points; point(i) gives a place on the ground, `slots` and `labels` are of the points.
template <class Owner, class Point>
__device__ void link_points(Cells cells, int count, const Owner& owner, const Point& point, float reach, int* slots,
                            int* labels) {
    cells.clear();
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        int own = owner(i);
        slots[i] = -1;
        if (own < 0) continue;
        float2 place = point(i);
        slots[i] = cells.insert(cell_of(own, place.x, place.y, reach));
        atomicMin(&cells.firsts[slots[i]], i);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < cells.size; i += blockDim.x) {
        if (cells.keys[i] == EMPTY) continue;
        for (int x = 0; x <= CELLS_OF_REACH; ++x)
            for (int y = x ? -CELLS_OF_REACH : 1; y <= CELLS_OF_REACH; ++y) {
                if (x * x + y * y > CELLS_OF_REACH * CELLS_OF_REACH) continue;
                int other = cells.find(cells.keys[i] + (Key(x) << CELL_BITS) + Key(y));
                if (other >= 0) cells.unite(i, other);
            }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < cells.size; i += blockDim.x) {
        int root = cells.keys[i] == EMPTY ? i : cells.root(i);
        if (root != i) atomicMin(&cells.firsts[root], cells.firsts[i]);
    }
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += blockDim.x)
        labels[i] = slots[i] < 0 ? -1 : cells.firsts[cells.root(slots[i])];
    __syncthreads();
}
