"""Which points lie in each region, on the GPU: lists in order, one behind the other, of a fixed capacity."""

from __future__ import annotations

import cupy as cp
import numpy as np

from avperception.ops.gpu.module import blocks, launch
from avperception.types import Array

CHUNK = 256
"""Points that one warp goes through."""

WARPS_OF_A_BLOCK = 4
BLOCK = 256

COLUMNS = 9
"""Values of a gathered point on the host: x y z, ground, pixel u v, depth, distance, row (int32)."""


def points_in_boxes(pixels: Array, boxes: Array, first_boxes: Array, capacity: int) -> tuple[Array, Array]:
    """List for each box (B, 4) the rows of its camera's pixels (C, N, 2) in it, as `ops.cpu.points_in_boxes`.

    Boxes from `first_boxes[c]` to `first_boxes[c + 1]`, int32 (C + 1,), are camera c's. Gives the rows of
    all lists (capacity,) and where each begins (B + 1,), both int32; what is beyond the capacity is left
    out, which the last offset tells.
    """
    return _gather(
        "points_in_boxes", (pixels, pixels.shape[1]), boxes, first_boxes, pixels.shape[1], capacity
    )


def hidden_around(
    pixels: Array, points: Array, is_ground: Array, circles: Array, first_circles: Array, capacity: int
) -> tuple[Array, Array]:
    """List for each circle (Q, 4), x y squared radius and nothing, its points (N, 3) that a camera misses.

    Those are no ground and have no pixel (C, N, 2). The rest is as for `points_in_boxes`.
    """
    members = (pixels, points, is_ground, len(points))
    return _gather("hidden_around", members, circles, first_circles, len(points), capacity)


def describe_points(
    rows: Array,
    offsets: Array,
    first_lists: Array,
    lenses: Array,
    points: Array,
    ground: Array,
    pixels: Array | None,
    host_columns: int,
    host_offsets: int,
) -> None:
    """Write gathered points and the offsets of their lists to pinned host memory at two addresses.

    `host_columns` gets float32 (9, capacity), as many of them as there are; `host_offsets` int32.
    Without `pixels` the cameras' columns are left out.
    """
    launch(
        "lenses", "describe_points", (min(blocks(len(rows), BLOCK), 128),), (BLOCK,),
        rows, offsets, len(offsets) - 1, first_lists, len(lenses), lenses, points, ground, pixels,
        len(points), len(rows), np.uint64(host_columns), np.uint64(host_offsets),
    )  # fmt: skip


def _gather(
    name: str, members: tuple[Array | int, ...], regions: Array, first: Array, count: int, capacity: int
) -> tuple[Array, Array]:
    cameras, chunks = len(first) - 1, blocks(count, CHUNK)
    counts = cp.empty((len(regions), chunks), np.int32)
    offsets = cp.empty(len(regions) + 1, np.int32)
    rows = cp.empty(capacity, np.int32)
    grid, block = (blocks(chunks, WARPS_OF_A_BLOCK), cameras), (32 * WARPS_OF_A_BLOCK,)
    launch("gather", name, grid, block, *members, regions, first, chunks, counts, None, None, 0)
    launch("gather", "sums_before", (len(regions),), (BLOCK,), counts, chunks, offsets)
    launch("gather", "sums_before", (1,), (BLOCK,), offsets, len(regions), offsets[-1:])
    launch("gather", name, grid, block, *members, regions, first, chunks, counts, offsets, rows, capacity)
    return rows, offsets
