"""Lidar points: transforms, range and ground, on the GPU."""

from __future__ import annotations

import cupy as cp
import numpy as np

from avperception.ops.cpu.points import SECTORS, rings_of
from avperception.ops.gpu.module import blocks, launch
from avperception.types import Array

BLOCK = 256
COMPACTION_BLOCK = 1024
NO_POINT = 0xFFFFFFFF


def transform_points(points: Array, T_target_source: Array) -> Array:
    """Map points (N, 3) by a 4x4 float64 transform in GPU memory, as `ops.cpu.transform_points`."""
    result = cp.empty((len(points), 3), np.float32)
    if len(points):
        launch(
            "points", "transform_points", (blocks(len(points), BLOCK),), (BLOCK,),
            points, len(points), T_target_source, result,
        )  # fmt: skip
    return result


def within_range(points_sensor: Array, min_range: float, max_range: float) -> Array:
    """Tell which points (N, 3) lie between two distances [m], as `ops.cpu.within_range`; NaN never does."""
    mask = cp.empty(len(points_sensor), np.bool_)
    if len(points_sensor):
        launch(
            "points", "within_range", (blocks(len(mask), BLOCK),), (BLOCK,),
            points_sensor, len(mask), float(min_range) ** 2, float(max_range) ** 2, mask,
        )  # fmt: skip
    return mask


def selected_rows(mask: Array) -> Array:
    """List the rows that a mask (N,) selects, in order, as int32 (N,); -1 behind the last."""
    rows = cp.empty(len(mask), np.int32)
    if not len(mask):
        return rows
    grid = (blocks(len(mask), COMPACTION_BLOCK),)
    counts = cp.empty(grid, np.int32)
    launch("points", "count_selected", grid, (COMPACTION_BLOCK,), mask, len(mask), counts)
    launch("points", "place_selected", grid, (COMPACTION_BLOCK,), mask, len(mask), counts, rows)
    return rows


def take_rows(points: Array, rows: Array) -> Array:
    """Take these rows of points (N, 3); a row of -1 gives NaN."""
    taken = cp.empty((len(rows), 3), np.float32)
    if len(rows):
        launch("points", "take_rows", (blocks(len(rows), BLOCK),), (BLOCK,), points, rows, len(rows), taken)
    return taken


def ground_height(
    points: Array, sensor: Array, max_range: float, max_slope: float, tolerance: float
) -> Array:
    """Estimate the height of the ground below each point (N, 3), as `ops.cpu.ground_height`.

    `sensor` (3,) is float64 in GPU memory. An empty row gives NaN.
    """
    rings = rings_of(max_range)
    cells = cp.empty(len(points), np.int32)
    lowest = cp.full((SECTORS, rings), NO_POINT, np.uint32)
    raw = cp.empty((SECTORS, rings), np.float32)
    height = cp.empty((SECTORS, rings), np.float32)
    heights = cp.empty(len(points), np.float32)
    if not len(points):
        return heights
    grid = (blocks(len(points), BLOCK),)
    launch(
        "ground", "lowest_of_cells", grid, (BLOCK,),
        points, len(points), sensor, sensor.strides[0] // 8, rings, cells, lowest,
    )  # fmt: skip
    launch(
        "ground", "follow_ground", (1,), (COMPACTION_BLOCK,),
        lowest, rings, float(max_slope), float(tolerance), raw, height,
    )  # fmt: skip
    launch("ground", "height_of_cells", grid, (BLOCK,), cells, len(points), height, heights)
    return heights
