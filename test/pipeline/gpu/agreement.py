"""How far two results of one image agree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from avperception.types import CameraResult, Detections2D, Float32

MIN_IOU = 0.98
SCORE_TOLERANCE = 0.01
MIN_EQUAL_PIXELS = 0.995

COLUMN_TOLERANCE = 2.0
"""Pixels by which a lane line may lie beside the other one in the same row."""

MIN_EQUAL_LANE_POINTS = 0.97


def intersection_over_union(boxes: Float32, others: Float32) -> NDArray[np.float64]:
    """Of boxes (N, 4) with others (M, 4), as (N, M)."""
    a, b = boxes[:, None].astype(float), others[None].astype(float)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.clip(sides, 0, None).prod(axis=2)
    areas = (a[..., 2:] - a[..., :2]).prod(axis=2) + (b[..., 2:] - b[..., :2]).prod(axis=2)
    return common / (areas - common)


def unmatched(found: Detections2D, expected: Detections2D, threshold: float) -> list[str]:
    """Boxes of `expected` without one like them in `found`, but for those about to pass no more."""
    missing = []
    overlaps = intersection_over_union(expected.boxes, found.boxes)
    for row in np.flatnonzero(expected.scores >= threshold + SCORE_TOLERANCE):
        alike = found.class_ids == expected.class_ids[row]
        alike &= np.abs(found.scores - expected.scores[row]) <= SCORE_TOLERANCE
        if not (alike & (overlaps[row] >= MIN_IOU)).any():
            best = overlaps[row].max(initial=0.0)
            missing.append(f"{expected.boxes[row]} of score {expected.scores[row]:.3f}, best IoU {best:.3f}")
    return missing


def check_boxes(found: Detections2D, expected: Detections2D, threshold: float) -> int:
    """Assert that each box has its partner, in both directions; give the number of those expected."""
    assert unmatched(found, expected, threshold) == []
    assert unmatched(expected, found, threshold) == []
    return len(expected)


def equal_pixels(found: CameraResult, expected: CameraResult) -> float:
    """Share of the pixels that both masks give the same class."""
    assert found.segmentation is not None and expected.segmentation is not None
    return float((found.segmentation == expected.segmentation).mean())


def equal_lane_points(found: Sequence[Float32], expected: Sequence[Float32]) -> float:
    """Share of the points of `expected` lines near which, in their row, a line of `found` has a point."""
    points = np.concatenate([*expected, np.zeros((0, 2), np.float32)])
    others = np.concatenate([*found, np.zeros((0, 2), np.float32)])
    if not len(points):
        return 1.0
    same_row = points[:, None, 1] == others[None, :, 1]
    near = np.abs(points[:, None, 0] - others[None, :, 0]) <= COLUMN_TOLERANCE
    return float((same_row & near).any(axis=1).mean())


def check_masks(found: CameraResult, expected: CameraResult) -> int:
    """Assert that masks and lane lines agree; give the number of lines expected."""
    assert equal_pixels(found, expected) >= MIN_EQUAL_PIXELS
    assert equal_lane_points(found.lanes, expected.lanes) >= MIN_EQUAL_LANE_POINTS
    assert equal_lane_points(expected.lanes, found.lanes) >= MIN_EQUAL_LANE_POINTS
    return len(expected.lanes)


def check_identical(found: CameraResult, expected: CameraResult) -> None:
    """Assert that two results are the same to the last bit."""
    for name in ("boxes", "scores", "class_ids"):
        np.testing.assert_array_equal(getattr(found.detections, name), getattr(expected.detections, name))
    assert found.detections.overflow == expected.detections.overflow
    np.testing.assert_array_equal(found.segmentation, expected.segmentation)
    assert len(found.lanes) == len(expected.lanes)
    for lane, wanted in zip(found.lanes, expected.lanes, strict=True):
        np.testing.assert_array_equal(lane, wanted)
    assert (found.stamp_ns, found.width, found.height) == (expected.stamp_ns, expected.width, expected.height)
