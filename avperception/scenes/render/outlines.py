"""World polygons as outlines in one camera's pixels, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avperception.scenes.shapes.shape import Indices
from avperception.types import Float32, Float64

NEAR = 0.25
"""Metres in front of the camera below which nothing is drawn."""

SUBPIXEL_BITS = 4
"""Fractional bits of the pixel coordinates that are painted."""

_FARTHEST_PIXEL = 20_000.0  # from the image; polygons reach farther only when almost touching the camera

Outline = NDArray[np.int32]
"""A polygon (N, 2) in fixed-point pixels, as OpenCV draws them."""


@dataclass(frozen=True)
class WorldPolygons:
    """Polygons stored end to end: `points` (N, 3) float64 in the world; i is `starts[i]:starts[i + 1]`."""

    points: Float64
    starts: Indices

    @classmethod
    def joined(cls, polygons: Sequence[Float64]) -> WorldPolygons:
        """Store a list of (M, 3) polygons."""
        starts = np.concatenate([[0], np.cumsum([len(polygon) for polygon in polygons])]).astype(np.intp)
        points = np.concatenate(polygons) if len(polygons) else np.zeros((0, 3))
        return cls(points, starts)


def outlines(polygons: WorldPolygons, T_camera_world: Float64, K: Float64) -> list[Outline | None]:
    """Outline of each polygon's part in front of the camera, None where there is none."""
    if not len(polygons.points):
        return []
    camera = (polygons.points @ T_camera_world[:3, :3].T + T_camera_world[:3, 3]).astype(np.float32)
    starts = polygons.starts
    nearest = np.minimum.reduceat(camera[:, 2], starts[:-1])
    farthest = np.maximum.reduceat(camera[:, 2], starts[:-1])
    fixed = to_subpixels(project(np.where(camera[:, 2:] > NEAR, camera, np.float32(1.0)), K))
    found: list[Outline | None] = []
    for i in range(len(nearest)):
        if nearest[i] > NEAR:
            found.append(fixed[starts[i] : starts[i + 1]])
        elif farthest[i] > NEAR:
            found.append(to_subpixels(project(clip_near(camera[starts[i] : starts[i + 1]]), K)))
        else:
            found.append(None)
    return found


def project(points_camera: Float32, K: Float64) -> Float32:
    """Pixels (N, 2) of points (N, 3) in front of the camera; OpenCV's convention, first centre at 0."""
    scale = K[[0, 1], [0, 1]].astype(np.float32)
    pixels = points_camera[:, :2] / points_camera[:, 2:] * scale + K[:2, 2].astype(np.float32)
    return np.asarray(np.clip(pixels, -_FARTHEST_PIXEL, _FARTHEST_PIXEL), np.float32)


def clip_near(polygon: Float32, near: float = NEAR) -> Float32:
    """The part (M, 3) of a polygon (N, 3) in the camera's frame that is farther than the near plane.

    Sutherland and Hodgman 1974, for one plane and all edges at once.
    """
    depth = polygon[:, 2] - np.float32(near)
    inside = depth > 0
    if inside.all():
        return polygon
    following = np.roll(polygon, -1, axis=0)
    next_depth = np.roll(depth, -1)
    crosses = inside != (next_depth > 0)
    part = np.divide(depth, depth - next_depth, out=np.zeros_like(depth), where=crosses)
    crossing = polygon + part[:, None] * (following - polygon)
    both = np.stack([polygon, crossing], axis=1).reshape(-1, 3)
    return np.asarray(both[np.stack([inside, crosses], axis=1).ravel()])


def to_subpixels(pixels: Float32) -> Outline:
    """Fixed-point pixels for OpenCV's drawing functions."""
    return np.round(pixels * (1 << SUBPIXEL_BITS)).astype(np.int32)
