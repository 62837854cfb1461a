"""The one geometry that cameras paint and lidars hit: convex parts with flat, coloured faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from avperception.types import Bool, Float32

Indices = NDArray[np.intp]

NO_LAMP, HEAD_LAMP, TAIL_LAMP, WINDOW_LAMP, STREET_LAMP = range(5)
"""What a polygon does in the dark: nothing, or it shines like one of these."""

Separator = tuple[int, int, Float32, float]
"""Parts `a`, `b` and the plane `normal . x = offset` with `a` on its lower and `b` on its upper side."""


class Texture:
    """A picture on one quad face, drawn by `draw` when it is first seen."""

    def __init__(self, draw: Callable[[], NDArray[np.uint8]]) -> None:
        self._draw = draw

    @cached_property
    def levels(self) -> tuple[NDArray[np.uint8], ...]:
        """BGR images, each half the size of the one before."""
        levels = [self._draw()]
        while min(levels[-1].shape[:2]) > 8:
            levels.append(cv2.pyrDown(levels[-1]))
        return tuple(levels)


@dataclass(frozen=True)
class Shape:
    """Convex parts in the object's own frame: origin on the ground below the middle, x forward, z up, metres.

    Polygons are convex and planar, stored end to end: polygon `i` is `points[starts[i]:starts[i + 1]]`.
    `points` (N, 3), `normals` (P, 3) outward, `albedo` (P, 3) BGR 0-255, `gloss` (P,) the share of sky it
    mirrors, `part` (P,) the part a polygon belongs to, `is_face` (P,) false for a decal painted on a
    face, `lamp` (P,) one of the lamp kinds. The planes of the faces (`plane_normals` (F, 3),
    `plane_offsets` (F,), inside where normal . x <= offset, grouped by `plane_starts`) bound each part
    for ray casting; `reflectivity` (F,) is what a lidar gets back, 0-1.
    `grain` is the contrast of the object's surface texture, 0-1.
    """

    points: Float32
    starts: Indices
    normals: Float32
    albedo: Float32
    gloss: Float32
    part: Indices
    is_face: Bool
    lamp: NDArray[np.uint8]
    textures: dict[int, Texture]
    plane_normals: Float32
    plane_offsets: Float32
    plane_starts: Indices
    reflectivity: Float32
    separators: tuple[Separator, ...]
    grain: float
    _orders: dict[bytes, Indices] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def lower(self) -> Float32:
        """Smallest x, y, z (3,) of all faces, metres."""
        return np.asarray(self.points.min(axis=0))

    @cached_property
    def upper(self) -> Float32:
        """Largest x, y, z (3,) of all faces, metres."""
        return np.asarray(self.points.max(axis=0))

    @cached_property
    def hull_points(self) -> Float32:
        """Corners (N, 3) of the convex hull of all parts: enough for outlines and shadows."""
        corners = np.unique(self.points, axis=0)
        return np.asarray(corners[np.sort(ConvexHull(corners.astype(np.float64)).vertices)])

    @cached_property
    def part_boxes(self) -> Float32:
        """Smallest and largest x, y, z of each part, (parts, 2, 3)."""
        corners = [self.points[self.starts[i] : self.starts[i + 1]] for i in self.faces]
        ends = [*self.plane_starts[1:], len(corners)]
        parts = [np.concatenate(corners[a:b]) for a, b in zip(self.plane_starts, ends, strict=True)]
        return np.array([(part.min(axis=0), part.max(axis=0)) for part in parts], np.float32)

    @cached_property
    def faces(self) -> Indices:
        """Numbers of the polygons that are faces, not decals."""
        return np.flatnonzero(self.is_face)

    @cached_property
    def is_box(self) -> bool:
        """Whether the shape is one box along its own axes."""
        axis_parallel = np.abs(self.plane_normals).max(axis=1) > 1 - 1e-6
        return len(self.plane_starts) == 1 and len(self.plane_normals) == 6 and bool(axis_parallel.all())

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        state["_orders"] = {}
        return state

    def painting_order(self, eye: Float32) -> Indices:
        """Polygon numbers from back to front for an `eye` (3,) in the object's frame.

        A plane between two convex parts settles their order: the part on the eye's side is in front.
        """
        if not self.separators:
            return np.arange(len(self.part))
        normals, offsets = self._separating_planes
        sides = (normals @ eye > offsets).tobytes()
        if sides not in self._orders:
            self._orders[sides] = self._sorted_polygons(sides)
        return self._orders[sides]

    @cached_property
    def _separating_planes(self) -> tuple[Float32, Float32]:
        normals = np.array([separator[2] for separator in self.separators], np.float32)
        return normals, np.array([separator[3] for separator in self.separators], np.float32)

    def _sorted_polygons(self, sides: bytes) -> Indices:
        parts = int(self.part[-1]) + 1
        hides: list[set[int]] = [set() for _ in range(parts)]  # hides[a]: parts that must be painted before a
        for (lower, upper, _, _), eye_is_above in zip(self.separators, sides, strict=True):
            front, back = (upper, lower) if eye_is_above else (lower, upper)
            hides[front].add(back)
        ordered: list[int] = []
        waiting = list(range(parts))
        while waiting:
            done = set(ordered)
            ready = next((part for part in waiting if hides[part] <= done), waiting[0])
            waiting.remove(ready)
            ordered.append(ready)
        rank = np.empty(parts, np.intp)
        rank[ordered] = np.arange(parts)
        return np.argsort(rank[self.part], kind="stable")
