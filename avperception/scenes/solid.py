"""A shape placed in the world at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from avperception.scenes.shapes.shape import Shape
from avperception.types import Float32, Float64

ROAD, LANE_LINE, VEHICLE, PERSON, BACKGROUND = range(5)
"""Class ids of the segmentation masks."""

SEGMENTATION_CLASSES = ("road", "lane_line", "vehicle", "person", "background")
"""Names of the classes of the segmentation masks, by id; a cyclist with the bicycle is a person."""


@dataclass(frozen=True)
class Solid:
    """`shape` at world position x, y, z (m) and `yaw` (rad), with `velocity` (2,) m/s and `yaw_rate` rad/s.

    `mask_class` is its class id in segmentation masks, `track_id` the actor's (0: background), `s` its
    place on the road; `lamps` says whether its lamps shine in the dark.
    """

    shape: Shape
    x: float
    y: float
    z: float
    yaw: float
    s: float
    mask_class: int = BACKGROUND
    track_id: int = 0
    velocity: tuple[float, float] = (0.0, 0.0)
    yaw_rate: float = 0.0
    lamps: bool = True

    @cached_property
    def position(self) -> Float64:
        """World x, y, z (3,) of the shape's origin, metres."""
        return np.array([self.x, self.y, self.z])

    @cached_property
    def rotation(self) -> Float32:
        """Turns shape coordinates into world directions, (3, 3)."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]], np.float32)

    @cached_property
    def turned_points(self) -> Float32:
        """The shape's points (N, 3) about `position`, in the world's directions."""
        return self.shape.points @ self.rotation.T

    @cached_property
    def turned_normals(self) -> Float32:
        """The shape's normals (P, 3) in the world's directions."""
        return self.shape.normals @ self.rotation.T
