"""Lane lines from a pixel mask, on the GPU."""

from __future__ import annotations

import cupy as cp
import numpy as np

from avperception.ops.cpu.lanes import MAX_LINES, MAX_RUNS, REACH, row_step, sampled_rows
from avperception.ops.gpu.module import launch
from avperception.types import Array

MAX_ROWS = 192
"""Rows that are sampled at most: 96, and not quite twice as many of an image of 191 rows."""

TRACING_THREADS = 256
"""Those of `lanes.cu`: one warp follows the lines, all of them read and write."""


def trace_lanes(labels: Array, lane_id: int) -> Array:
    """Follow the lane lines in a label image (height, width), packed as (32, 1 + rows, 2).

    As `ops.cpu.trace_lanes`; places behind the last line hold 0 points.
    """
    height, width = labels.shape
    rows, step = len(sampled_rows(height)), row_step(height)
    centres = cp.empty((rows, MAX_RUNS), np.float32)
    launch("lanes", "lane_runs", (rows,), (32,), labels, width, height, step, lane_id, centres)
    points = cp.empty((rows * MAX_RUNS, rows, 2), np.float32)
    packed = cp.empty((MAX_LINES, 1 + rows, 2), np.float32)
    launch(
        "lanes", "trace_lanes", (1,), (TRACING_THREADS,),
        centres, rows, height, step, np.float64(REACH * width), points, packed,
    )  # fmt: skip
    return packed
