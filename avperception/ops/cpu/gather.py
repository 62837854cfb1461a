"""Which points lie in each region, on the host."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avperception.types import Bool, Float32

Rows = NDArray[np.int64]


def points_in_boxes(pixels: Float32, boxes: Float32) -> list[Rows]:
    """List for each box (B, 4), x1 y1 x2 y2, the rows of the pixels (N, 2) in it, its edges included."""
    u, v = np.ascontiguousarray(pixels.T)
    return [
        np.flatnonzero((u >= left) & (u <= right) & (v >= top) & (v <= bottom))
        for left, top, right, bottom in boxes
    ]


def points_around(points: Float32, is_asked: Bool, circles: Float32) -> list[Rows]:
    """List for each circle (C, 3), x y and squared radius, the rows of the points (N, 3) inside of it.

    Only those that `is_asked` (N,) names, and their heights play no part.
    """
    asked = np.flatnonzero(is_asked)
    found = []
    for circle in circles:
        offset = points[asked, :2] - circle[:2]
        found.append(asked[np.einsum("ij,ij->i", offset, offset) < circle[2]])
    return found
