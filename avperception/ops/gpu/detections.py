"""Anchor-free detector output to boxes in the image, on the GPU."""

from __future__ import annotations

from collections.abc import Sequence

import cupy as cp
import numpy as np

from avperception.ops import cpu
from avperception.ops.gpu.module import blocks, launch, suffix
from avperception.ops.placement import Placement
from avperception.types import Array

CAPACITY = 1024
"""Candidates that take part at most, the number of threads that one block has for them."""

WARPS_OF_A_BLOCK = 8
ANCHORS_OF_A_BLOCK = 128


def yolox_grid(height: int, width: int, strides: Sequence[int]) -> tuple[Array, Array]:
    """As `ops.cpu.yolox_grid`, in GPU memory."""
    cells, scales = cpu.yolox_grid(height, width, strides)
    return cp.asarray(cells), cp.asarray(scales)


def decode_yolox(
    output: Array, cells: Array, strides: Array, score_threshold: float
) -> tuple[Array, Array, Array]:
    """Decode a YOLOX head (N, 5 + classes) into boxes (N, 4), scores (N,) and class ids (N,).

    As `ops.cpu.decode_yolox`; an anchor point that is no candidate keeps its row, with a score of -1.
    """
    anchors, columns = output.shape
    boxes = cp.empty((anchors, 4), np.float32)
    scores = cp.empty(anchors, np.float32)
    class_ids = cp.empty(anchors, np.int32)
    launch(
        "detections", f"decode_yolox_{suffix(output)}",
        (blocks(anchors, ANCHORS_OF_A_BLOCK),), (ANCHORS_OF_A_BLOCK,),
        output, anchors, columns, cells, strides, float(score_threshold), boxes, scores, class_ids,
    )  # fmt: skip
    return boxes, scores, class_ids


def non_maximum_suppression(
    boxes: Array, scores: Array, class_ids: Array, iou_threshold: float, capacity: int
) -> Array:
    """Keep the best of the boxes of one class that overlap; give their rows (1024,) by falling score.

    As `ops.cpu.non_maximum_suppression`, and -1 behind the last; `capacity` is at most 1024.
    """
    capacity = min(capacity, CAPACITY)
    order = cp.empty(CAPACITY, np.int32)
    counts = cp.empty(2, np.int32)
    mask = cp.empty((CAPACITY, CAPACITY // 32), np.uint32)
    kept = cp.empty(CAPACITY, np.int32)
    launch("detections", "best_candidates", (1,), (CAPACITY,), scores, len(scores), capacity, order, counts)
    launch(
        "detections", "suppression_mask",
        (blocks(capacity, WARPS_OF_A_BLOCK),), (32 * WARPS_OF_A_BLOCK,),
        boxes, class_ids, order, counts, float(iou_threshold), mask,
    )  # fmt: skip
    launch("detections", "keep_unsuppressed", (1,), (CAPACITY,), order, counts, mask, kept)
    return kept


def pack_detections(
    boxes: Array, scores: Array, class_ids: Array, kept: Array, placement: Placement, width: int, height: int
) -> Array:
    """Bring the kept boxes to the image and pack all that comes of a frame into one array (1 + 1024, 6).

    As `ops.cpu.pack_detections`; the rows behind the last box hold nothing of use.
    """
    packed = cp.empty((1 + CAPACITY, 6), np.float32)
    launch(
        "detections", "pack_detections", (1,), (CAPACITY,),
        boxes, scores, class_ids, len(scores), kept,
        np.float64(placement.left), np.float64(placement.top),
        np.float64(placement.scale_x), np.float64(placement.scale_y),
        width, height, packed,
    )  # fmt: skip
    return packed
