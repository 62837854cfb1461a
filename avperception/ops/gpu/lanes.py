"""Lane lines from a pixel mask, on the GPU."""

from __future__ import annotations

import cupy as cp
import numpy as np

from avperception.ops.cpu.lanes import MAX_LINES, MAX_RUNS, REACH, row_step, sampled_rows
from avperception.ops.gpu.module import blocks, launch
from avperception.types import Array

MAX_ROWS = 192
"""Rows that are sampled at most: 96, and not quite twice as many of an image of 191 rows."""

WARPS_OF_A_BLOCK = 8


def trace_lanes(labels: Array, lane_id: int) -> Array:
    """Follow the lane lines in a label image (height, width), packed as (32, 1 + rows, 2).

    As `ops.cpu.trace_lanes`; places behind the last line hold 0 points.
    """
    height, width = labels.shape
    rows, step = len(sampled_rows(height)), row_step(height)
    runs = cp.empty((rows, MAX_RUNS), np.int32)
    run_counts = cp.empty(rows, np.int32)
    launch(
        "lanes", "lane_runs", (blocks(rows, WARPS_OF_A_BLOCK),), (32 * WARPS_OF_A_BLOCK,),
        labels, width, height, step, rows, lane_id, runs, run_counts,
    )  # fmt: skip
    columns = cp.empty((rows * MAX_RUNS, MAX_ROWS), np.float32)
    samples = cp.empty((rows * MAX_RUNS, MAX_ROWS), np.int16)
    counts = cp.empty(rows * MAX_RUNS, np.int32)
    packed = cp.empty((MAX_LINES, 1 + rows, 2), np.float32)
    launch(
        "lanes", "trace_lanes", (1,), (32,),
        runs, run_counts, rows, height, step, np.float64(REACH * width), columns, samples, counts, packed,
    )  # fmt: skip
    return packed
