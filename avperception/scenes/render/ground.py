"""Paints the ground as one camera sees it: road, paint, pavement, verge, their texture and light."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avperception.scenes.render.ground_plan import GroundPlan
from avperception.scenes.render.ground_view import GroundView
from avperception.scenes.render.lighting import Light
from avperception.scenes.render.outlines import SUBPIXEL_BITS, Outline, outlines
from avperception.scenes.road import Road
from avperception.scenes.solid import LANE_LINE, ROAD
from avperception.scenes.textures import MEAN_GREY, ground_tile
from avperception.types import Float64, UInt8

Ids = NDArray[np.uint16]

_TUNNEL_SHADE = 70  # of 255
_LIGHT_UNIT = 128.0  # grey value of white light in a picture of light


@dataclass(frozen=True)
class Surfaces:
    """Colours (BGR 0-255) of the ground of one scene; its textures are shifted
    by `phase` (2,) metres, and `variant` is the asphalt's.
    """

    asphalt: tuple[float, float, float]
    pavement: tuple[float, float, float]
    kerb: tuple[float, float, float]
    verge: tuple[float, float, float]
    phase: Float64
    variant: int


def make_surfaces(road: Road, rng: np.random.Generator, wet: float) -> Surfaces:
    """Colours of one scene; a wet road is darker."""
    grey = rng.uniform(62, 112) * (1 - 0.35 * wet)
    tint = rng.normal(0, 3, 3)
    stone = rng.uniform(95, 160) * (1 - 0.25 * wet)
    warm = rng.uniform(-14, 14)
    verge = (
        rng.uniform((40, 88, 66), (70, 130, 110))
        if not road.urban or rng.random() < 0.4
        else (stone * 0.85,) * 3
    )
    return Surfaces(
        _colour(np.full(3, grey) + tint),
        _colour((stone - warm, stone, stone + warm)),
        _colour(np.full(3, stone * rng.uniform(0.8, 1.25))),
        _colour(np.asarray(verge)),
        rng.uniform(0, 40, 2),
        int(rng.integers(4)),
    )


class GroundPainter:
    """Paints the ground of one scene into the pictures of one camera."""

    def __init__(self, view: GroundView, road: Road, surfaces: Surfaces) -> None:
        self._view, self._road, self._surfaces = view, road, surfaces

    def paint(
        self, picture: UInt8, ids: Ids, shade: UInt8, plan: GroundPlan, T_camera_world: Float64
    ) -> None:
        """Paint colours and class ids of what is on the ground, and darken `shade` in a tunnel."""
        surfaces = self._surfaces
        picture[self._view.top :] = np.asarray(surfaces.verge, np.uint8)
        shapes = iter(outlines(plan.polygons, T_camera_world, self._view.K))
        if plan.has_pavement:
            for colour in (surfaces.pavement, surfaces.kerb) * 2:
                _fill(picture, [next(shapes)], colour)
        road = [next(shapes)]
        _fill(picture, road, surfaces.asphalt)
        _fill(ids, road, ROAD)
        if plan.has_tunnel:
            _fill(shade, [next(shapes)], _TUNNEL_SHADE)
        for line, count in zip(self._road.lane_lines, plan.line_counts, strict=True):
            worn = 0.6 * line.wear
            paint = _colour((1 - worn) * np.asarray(line.colour) + worn * np.asarray(surfaces.asphalt))
            pieces = list(islice(shapes, count))
            _fill(picture, pieces, paint)
            _fill(ids, pieces, LANE_LINE)

    def light(self, picture: UInt8, ids: Ids, shade: UInt8, light: Light, T_world_base: Float64) -> None:
        """Give the painted ground its texture, `shade` (height, width) with 255 in full light, and light."""
        view = self._view
        below = slice(view.top, view.height)
        ground = picture[below]
        is_road = cv2.inRange(ids[below], ROAD, LANE_LINE)
        texture = view.texture(
            ground_tile(self._surfaces.variant), T_world_base, self._surfaces.phase, is_road
        )
        texture = cv2.multiply(texture, cv2.blur(shade[below], (5, 5)), scale=1 / 255)
        cv2.multiply(ground, cv2.cvtColor(texture, cv2.COLOR_GRAY2BGR), ground, scale=1 / MEAN_GREY)
        kept, added = view.haze(light.condition)
        eye = (view.grid_base - light.T_base_eye[:, 3]) @ light.T_base_eye[:, :3]
        bright = light.ground(view.grid_base, eye) * kept * _LIGHT_UNIT
        bright8 = view.enlarged(np.clip(bright, 0, 255).astype(np.uint8))
        cv2.multiply(ground, bright8, ground, scale=1 / _LIGHT_UNIT)
        cv2.add(ground, added, ground)


def _fill(picture: NDArray[Any], shapes: list[Outline | None], value: tuple[float, ...] | int) -> None:
    shown = [shape for shape in shapes if shape is not None]
    if shown:
        kind = cv2.LINE_8 if isinstance(value, int) else cv2.LINE_AA
        cv2.fillPoly(picture, shown, value, kind, SUBPIXEL_BITS)


def _colour(values: NDArray[np.float64] | tuple[float, ...]) -> tuple[float, float, float]:
    blue, green, red = np.clip(values, 0, 255)
    return (float(blue), float(green), float(red))
