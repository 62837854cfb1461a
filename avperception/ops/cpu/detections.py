"""Anchor-free detector output to boxes in the image, on the host."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from avperception.errors import ModelError
from avperception.ops.placement import Placement
from avperception.types import Float32, Int32


def yolox_strides(height: int, width: int, anchor_count: int) -> tuple[int, ...]:
    """Find the strides of an anchor-free YOLOX head from its input size and its number of anchor points.

    The strides are consecutive powers of two, one anchor point a cell (YOLOX, Ge et al. 2021,
    arXiv:2107.08430). Raises ModelError when no such set gives `anchor_count`.
    """
    for first in range(1, 8):
        strides: list[int] = []
        cells = 0
        for power in range(first, 9):
            stride = 2**power
            if height % stride or width % stride:
                break
            strides.append(stride)
            cells += (height // stride) * (width // stride)
            if cells == anchor_count:
                return tuple(strides)
    raise ModelError(
        f"a YOLOX head with {anchor_count} anchor points fits no set of strides at input "
        f"{width}x{height}: check that the card's decoder is the network's, and export it with a static shape"
    )


def yolox_grid(height: int, width: int, strides: Sequence[int]) -> tuple[Float32, Float32]:
    """Give each anchor point's cell (N, 2) as x y in grid units and its stride (N, 1) in pixels."""
    cells, scales = [], []
    for stride in strides:
        rows, columns = np.mgrid[0 : height // stride, 0 : width // stride]
        cells.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        scales.append(np.full((cells[-1].shape[0], 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(scales).astype(np.float32)


def decode_yolox(
    output: Float32, cells: Float32, strides: Float32, score_threshold: float
) -> tuple[Float32, Float32, Int32]:
    """Decode a YOLOX head (N, 5 + classes) into boxes (M, 4) x1 y1 x2 y2, scores (M,) and class ids (M,).

    Boxes are network pixels; a score is objectness times the best class score; NaN never passes.
    """
    # A class score is at most 1, so objectness alone rules out nearly every anchor point.
    rows = np.flatnonzero(output[:, 4] >= score_threshold)
    candidates = output[rows]
    class_ids = candidates[:, 5:].argmax(axis=1) if len(rows) else np.zeros(0, np.int64)
    scores = candidates[:, 4] * candidates[np.arange(len(rows)), 5 + class_ids]
    good = scores >= score_threshold
    rows, candidates, scores, class_ids = rows[good], candidates[good], scores[good], class_ids[good]
    centres = (candidates[:, :2] + cells[rows]) * strides[rows]
    half_sizes = np.exp(candidates[:, 2:4]) * strides[rows] * np.float32(0.5)
    boxes = np.concatenate([centres - half_sizes, centres + half_sizes], axis=1)
    finite = np.isfinite(boxes).all(axis=1)
    return boxes[finite], scores[finite], class_ids[finite].astype(np.int32)


def non_maximum_suppression(
    boxes: Float32, scores: Float32, class_ids: Int32, iou_threshold: float, capacity: int
) -> NDArray[np.int64]:
    """Keep the best of the boxes of one class that overlap; give their rows by falling score.

    Greedy, class by class; at most the `capacity` best candidates take part. Equal scores keep the
    order they came in, so that the result is the same on every machine.
    """
    order = np.argsort(-scores, kind="stable")[:capacity]
    if not len(order):
        return order
    corner_and_size = boxes[order].astype(np.float64)
    corner_and_size[:, 2:] -= corner_and_size[:, :2]
    # OpenCV keeps classes apart by shifting each beyond the largest coordinate, counted from zero.
    corner_and_size[:, :2] -= corner_and_size[:, :2].min(axis=0)
    kept = cv2.dnn.NMSBoxesBatched(
        corner_and_size.tolist(), scores[order].tolist(), class_ids[order].tolist(), 0.0, iou_threshold
    )
    return order[np.sort(np.asarray(kept, dtype=np.int64))]


def boxes_to_image(boxes: Float32, placement: Placement, width: int, height: int) -> Float32:
    """Map boxes (N, 4) from network pixels to pixels of the original image and clip them to it."""
    scale = np.array([placement.scale_x, placement.scale_y] * 2)
    shift = np.array([placement.left, placement.top] * 2)
    limits = np.array([width, height] * 2)
    return np.clip((boxes - shift) / scale, 0, limits).astype(np.float32)


def pack_detections(
    boxes: Float32,
    scores: Float32,
    class_ids: Int32,
    kept: NDArray[np.int64],
    placement: Placement,
    width: int,
    height: int,
) -> Float32:
    """Bring the kept boxes to the image and pack all that comes of a frame into one array (1 + M, 6).

    The first row begins with the number of candidates there were and the number of boxes; then, in
    order, x1 y1 x2 y2, score and class id. A box without a pixel inside the image is left out.
    """
    in_image = boxes_to_image(boxes[kept], placement, width, height)
    # A box that lay in the padding alone has no area left inside the image.
    visible = (in_image[:, 2] - in_image[:, 0] >= 1) & (in_image[:, 3] - in_image[:, 1] >= 1)
    rows = kept[visible]
    packed = np.zeros((1 + len(rows), 6), dtype=np.float32)
    packed[0, :2] = len(scores), len(rows)
    packed[1:, :4] = in_image[visible]
    packed[1:, 4], packed[1:, 5] = scores[rows], class_ids[rows]
    return packed
