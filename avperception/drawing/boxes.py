"""Corners of 3D boxes."""

from __future__ import annotations

import numpy as np

from avperception.types import Float64

# Corners 0-3 are the bottom, 4-7 the top; 0, 1, 5, 4 is the front face.
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))


def box_corners(center: Float64, size: Float64, yaw: float) -> Float64:
    """Give the corners (8, 3) of a box: front left, front right, rear right, rear left, below then above."""
    signs = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]])
    cosine, sine = np.cos(yaw), np.sin(yaw)
    flat = signs * size[:2] / 2 @ np.array([[cosine, sine], [-sine, cosine]])
    bottom = np.column_stack([flat, np.full(4, -size[2] / 2)])
    return np.concatenate([bottom, bottom * [1, 1, -1]]) + center
