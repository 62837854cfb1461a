"""Delivery trucks: a cab, a box or a tarpaulin behind it, a frame and three axles."""

from __future__ import annotations

import numpy as np

from avperception.scenes.shapes import palette
from avperception.scenes.shapes.builder import (
    FRONT,
    LEFT,
    REAR,
    RIGHT,
    Colour,
    ShapeBuilder,
    box,
    extrusion,
    frustum,
    polygon,
)
from avperception.scenes.shapes.car import add_wheel
from avperception.scenes.shapes.shape import HEAD_LAMP, TAIL_LAMP, Shape
from avperception.scenes.textures import livery

_GLASS: Colour = (46, 42, 38)
_CLEARANCE = 0.42
_RADIUS = 0.46


def make_truck(rng: np.random.Generator) -> Shape:
    """A two-axle truck, 6.5-7.4 m long, 2.3-2.5 m wide and 2.9-3.4 m high, its box in a livery of its own."""
    length, width, height = rng.uniform(6.5, 7.4), rng.uniform(2.3, 2.5), rng.uniform(2.9, 3.4)
    paint = palette.car_paint(rng)
    builder = ShapeBuilder(grain=0.10)
    cab = _add_cab(builder, length / 2, width, rng.uniform(2.25, 2.6), paint)
    _add_load(builder, length, width, height, rng)
    builder.add(
        box((-length / 2 + 0.1, -width / 2 + 0.5, 0.5), (length / 2 - 1.95, width / 2 - 0.5, 0.98)),
        (42, 42, 44),
        reflectivity=0.2,
    )
    add_wheel(builder, cab, (LEFT, RIGHT), length / 2 - 0.95, width / 2, _RADIUS, _CLEARANCE, (120, 120, 120))
    for x in (-0.28 * length,):
        _add_rear_wheels(builder, x, width)
    return builder.build()


def _add_cab(builder: ShapeBuilder, front: float, width: float, height: float, paint: Colour) -> int:
    rear, side = front - 1.85, width / 2
    lower = builder.add(
        box((rear, -side, _CLEARANCE), (front, side, 1.35)), paint, reflectivity=0.45, gloss=0.12
    )
    upper = builder.add(
        frustum((rear, -side, 1.35), (front, side, height), (rear, -side + 0.08, front - 0.28, side - 0.08)),
        paint,
        reflectivity=0.45,
        gloss=0.12,
    )
    builder.decal(upper, FRONT, [(0.05, 0.08), (0.95, 0.08), (0.93, 0.78), (0.07, 0.78)], _GLASS, gloss=0.4)
    builder.decal(upper, LEFT, [(0.42, 0.08), (0.92, 0.08), (0.86, 0.72), (0.42, 0.72)], _GLASS, gloss=0.36)
    builder.decal(upper, RIGHT, [(0.08, 0.08), (0.58, 0.08), (0.58, 0.72), (0.14, 0.72)], _GLASS, gloss=0.36)
    for u0, u1 in ((0.04, 0.2), (0.8, 0.96)):
        lamp = [(u0, 0.16), (u1, 0.16), (u1, 0.34), (u0, 0.34)]
        builder.decal(lower, FRONT, lamp, (225, 228, 225), gloss=0.3, lamp=HEAD_LAMP)
    builder.decal(lower, FRONT, [(0.22, 0.45), (0.78, 0.45), (0.78, 0.9), (0.22, 0.9)], (38, 38, 38))
    builder.decal(lower, FRONT, [(0.0, 0.0), (1.0, 0.0), (1.0, 0.14), (0.0, 0.14)], (44, 44, 46))
    return lower


def _add_load(
    builder: ShapeBuilder, length: float, width: float, height: float, rng: np.random.Generator
) -> None:
    rear, front, side = -length / 2, length / 2 - 2.0, width / 2
    seed = int(rng.integers(1 << 16))
    pictures = {face: livery(seed, face == REAR) for face in (LEFT, RIGHT, REAR)}
    load = builder.add(
        box((rear, -side, 1.0), (front, side, height)),
        (205, 206, 206),
        reflectivity=0.5,
        textures=pictures,
    )
    for u0, u1 in ((0.03, 0.12), (0.88, 0.97)):
        lamp = [(u0, 0.02), (u1, 0.02), (u1, 0.07), (u0, 0.07)]
        builder.decal(load, REAR, lamp, (28, 22, 150), lamp=TAIL_LAMP)
    builder.decal(load, REAR, [(0.0, 0.0), (1.0, 0.0), (1.0, 0.015), (0.0, 0.015)], (40, 40, 40))


def _add_rear_wheels(builder: ShapeBuilder, x: float, width: float) -> None:
    outline = polygon(10, _RADIUS / np.cos(np.pi / 10), _RADIUS / np.cos(np.pi / 10))
    outline = outline + np.array([x, _RADIUS], np.float32)
    outline[:, 1] = np.clip(outline[:, 1], 0.0, 0.97)
    hub = polygon(8, 0.26, 0.26) + np.array([x, _RADIUS], np.float32)
    for y0, y1, face in ((width / 2 - 0.48, width / 2 - 0.03, 0), (-width / 2 + 0.03, -width / 2 + 0.48, 1)):
        wheel = builder.add(extrusion(outline, y0, y1), (26, 25, 24), reflectivity=0.08)
        plane = y1 if face == 0 else y0
        disc = np.stack([hub[:, 0], np.full(8, plane), hub[:, 1]], axis=1)
        builder.sticker(wheel, face, disc, (110, 110, 110))
