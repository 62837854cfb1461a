"""Shadows of solids on the road: cast by the sun, or the soft dark under things when there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avperception.scenes.conditions import Condition
from avperception.scenes.render.outlines import SUBPIXEL_BITS, WorldPolygons, outlines
from avperception.scenes.solid import Solid
from avperception.types import Float32, Float64, UInt8

_RANGE = 50.0  # m from the ego vehicle within which shadows are drawn
_LOWEST_SUN = 0.22  # rad: lower suns cast shadows as if they stood here
_SKIRT = 1.12  # how much larger than its footprint the dark under a thing is
_UNDER = 0.75  # how bright it is there, of the shadow


@dataclass(frozen=True)
class Shadows:
    """Where light is kept from the ground: `polygons` with a brightness 0-255 each."""

    polygons: WorldPolygons
    levels: tuple[float, ...]

    def paint(self, shade: UInt8, T_camera_world: Float64, K: Float64) -> None:
        """Darken `shade` (height, width), 255 in full light."""
        for outline, level in zip(outlines(self.polygons, T_camera_world, K), self.levels, strict=True):
            if outline is not None:
                cv2.fillPoly(shade, [outline], level, cv2.LINE_8, SUBPIXEL_BITS)


def find_shadows(
    solids: Sequence[Solid], condition: Condition, sun_direction: Float64, around: Float64
) -> Shadows:
    """The shadows on level ground within 50 m `around` (2,) in the world."""
    level = float(255 * (1 - condition.shadow))
    has_sun = max(condition.sun) > 0.05
    slope = np.asarray(sun_direction[:2] / np.tan(max(condition.sun_height, _LOWEST_SUN)), np.float32)
    slope /= np.float32(max(float(np.hypot(*sun_direction[:2])), 1e-6))
    polygons, levels = [], []
    for solid in solids:
        if abs(solid.x - around[0]) > _RANGE or abs(solid.y - around[1]) > _RANGE:
            continue
        if has_sun:
            polygons.append(_cast(solid, slope))
            levels.append(level)
        if solid.z + solid.shape.lower[2] < 1.0 and (solid.track_id or not has_sun):
            polygons.append(_skirt(solid))
            levels.append(_UNDER * level if has_sun else level)
    return Shadows(WorldPolygons.joined(polygons), tuple(levels))


def _cast(solid: Solid, slope: Float32) -> Float64:
    """Outline (N, 3) in the world of the shadow that the sun casts on the road."""
    turned = solid.shape.hull_points @ solid.rotation.T
    height = turned[:, 2:] + np.float32(solid.z)
    return _on_ground(cv2.convexHull(turned[:, :2] - slope * height)[:, 0], solid)


def _skirt(solid: Solid) -> Float64:
    """Outline (4, 3) in the world of the dark below a thing."""
    low, high = solid.shape.lower, solid.shape.upper
    grown = _SKIRT * np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]])
    return _on_ground(grown @ solid.rotation[:2, :2].T, solid)


def _on_ground(outline_xy: NDArray[np.floating[Any]], solid: Solid) -> Float64:
    placed = np.zeros((len(outline_xy), 3))
    placed[:, :2] = outline_xy
    placed[:, 0] += solid.x
    placed[:, 1] += solid.y
    return placed
