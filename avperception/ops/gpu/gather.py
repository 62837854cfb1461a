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
DESCRIPTION_BLOCKS = 128
COLUMNS = 9


def points_in_boxes(pixels: Array, boxes: Array, first_boxes: Array, capacity: int) -> tuple[Array, Array]:
    """List for each box (B, 4) the rows of its camera's pixels (C, N, 2) in it, as `ops.cpu.points_in_boxes`.

    Boxes from `first_boxes[c]` to `first_boxes[c + 1]`, int32 (C + 1,), are camera c's; what is behind the
    last counts for nothing. Gives the rows of all lists (capacity,) and where each begins (B + 1,), both
    int32; what is beyond the capacity is left out, which the last offset tells.
    """
    return _gather("points_in_boxes", (pixels,), pixels.shape[1], boxes, first_boxes, capacity)


def hidden_around(
    pixels: Array, sweep: Array, circles: Array, first_circles: Array, capacity: int
) -> tuple[Array, Array]:
    """List for each circle (Q, 4), x y squared radius and nothing, the points that its camera misses.

    Those are points of a `sweep`, given by its addresses, that are no ground and have no pixel (C, N, 2).
    The rest is as for `points_in_boxes`; the host's is `ops.cpu.points_around`.
    """
    return _gather("hidden_around", (pixels, sweep), pixels.shape[1], circles, first_circles, capacity)


def describe_points(
    rows: Array, offsets: Array, first_lists: Array, lenses: Array, sweep: Array, pixels: Array
) -> Array:
    """Give columns (9, capacity) float32 of what fusion needs of gathered points, as many as there are.

    They are x y z, the ground below, pixel u v, depth and distance in the list's camera, and, as int32, the
    row.
    """
    columns = cp.empty((COLUMNS, len(rows)), np.float32)
    launch(
        "lenses", "describe_points", (min(blocks(len(rows), BLOCK), DESCRIPTION_BLOCKS),), (BLOCK,),
        rows, offsets, len(offsets) - 1, first_lists, lenses, sweep, pixels, pixels.shape[1], len(rows),
        columns,
    )  # fmt: skip
    return columns


def sums_before(counts: Array) -> None:
    """Replace counts (N + 1,) int32, the last of them anything, by the sums of those before each."""
    launch("gather", "sums_before", (1,), (BLOCK,), counts, len(counts) - 1, None, counts[-1:])


def _gather(
    name: str, members: tuple[Array, ...], count: int, regions: Array, first: Array, capacity: int
) -> tuple[Array, Array]:
    cameras, chunks = len(first) - 1, blocks(count, CHUNK)
    counts = cp.empty((len(regions), chunks), np.int32)
    offsets = cp.empty(len(regions) + 1, np.int32)
    rows = cp.empty(capacity, np.int32)
    grid, block = (blocks(chunks, WARPS_OF_A_BLOCK), cameras), (32 * WARPS_OF_A_BLOCK,)
    asked = (*members, count, regions, first, chunks, counts)
    launch("gather", name, grid, block, *asked, None, None, 0)
    launch("gather", "sums_before", (len(regions),), (BLOCK,), counts, chunks, first[-1:], offsets)
    sums_before(offsets)
    launch("gather", name, grid, block, *asked, offsets, rows, capacity)
    return rows, offsets
