"""Which of many frames to keep so that they cover all light, contrast and sharpness that there is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from avperception.calibration.statistics import FEATURES, SIGNED, ImageStatistics

SAME_PICTURE = 1.5
"""Mean difference of two thumbnails in grey values up to which they show the same: a camera that stands."""

THUMBNAIL = (32, 18)


def choose_frames(
    statistics: Sequence[ImageStatistics], thumbnails: NDArray[np.uint8], count: int
) -> list[int]:
    """Choose at most `count` frames, in the order given, that cover the space of their statistics.

    Farthest-point sampling (Gonzalez 1985, the greedy 2-approximation of k-centre): first the frame
    nearest to the median, then each time the one farthest from all chosen; equal distances go to the
    earlier frame, so that the result is always the same. `thumbnails` is (N, height, width) uint8:
    a frame that looks like a chosen one is left out, so fewer than `count` may come back.
    """
    points = _points(statistics)
    distance = np.full(len(points), np.inf)
    free = np.ones(len(points), dtype=np.bool_)
    chosen: list[int] = []
    if not len(points):
        return chosen
    following = int(np.linalg.norm(points - np.median(points, axis=0), axis=1).argmin())
    small = thumbnails.reshape(len(thumbnails), -1).astype(np.int16)
    while free.any() and len(chosen) < count:
        chosen.append(following)
        distance = np.minimum(distance, np.linalg.norm(points - points[following], axis=1))
        free &= np.abs(small - small[following]).mean(axis=1) > SAME_PICTURE
        free[following] = False
        following = int(np.where(free, distance, -1.0).argmax())
    return sorted(chosen)


def _points(statistics: Sequence[ImageStatistics]) -> NDArray[np.float64]:
    """The statistics as points (N, features), each in units of its own spread, but for a tiny one.

    The spread has a floor: where nothing varies, noise shall not choose.
    """
    rows = [[getattr(row, name) for name in FEATURES] for row in statistics]
    points = np.array(rows, dtype=np.float64).reshape(len(rows), len(FEATURES))
    if not len(rows):
        return points
    floor = np.array([0.05 if name in SIGNED else 0.025 for name in FEATURES])
    return points / np.maximum(points.std(axis=0), floor)
