"""Street furniture and plants: things that a detector must not take for people or cars."""

from __future__ import annotations

import numpy as np

from avperception.scenes.shapes import palette
from avperception.scenes.shapes.builder import (
    FRONT,
    REAR,
    Colour,
    ShapeBuilder,
    box,
    frustum,
    polygon,
    prism,
)
from avperception.scenes.shapes.shape import STREET_LAMP, Shape

KINDS = ("lamp_post", "sign", "traffic_light", "bollard", "bin", "pillar", "box", "container", "shelter")
"""Things that stand at the kerb, by name."""


def make_furniture(kind: str, rng: np.random.Generator) -> Shape:
    """One of KINDS, as tall or as wide as a person or a car in places, but not of their form."""
    builder = ShapeBuilder(grain=0.2)
    colour = palette.any_colour(rng)
    grey = palette.darker((150, 150, 150), rng.uniform(0.4, 1.2))
    if kind == "lamp_post":
        _post(builder, 0.08, rng.uniform(5.5, 7.5), grey)
        lamp = builder.add(box((-0.2, 0.09, 5.3), (0.2, 1.6, 5.42)), grey)
        builder.sticker(lamp, 5, [(-0.18, 0.8, 5.3), (0.18, 0.8, 5.3), (0.18, 1.55, 5.3), (-0.18, 1.55, 5.3)],
                        (190, 235, 250), lamp=STREET_LAMP)  # fmt: skip
    elif kind == "sign":
        height = rng.uniform(2.0, 2.6)
        _post(builder, 0.035, height - 0.7, grey)
        round_sign = rng.random() < 0.5
        width = 0.33 if round_sign else rng.uniform(0.25, 0.5)
        plate = builder.add(box((-0.03, -width, height - 0.7), (0.03, width, height)), grey, reflectivity=1.0)
        uv = (
            polygon(10, 0.48, 0.48, (0.5, 0.5))
            if round_sign
            else [(0.04, 0.04), (0.96, 0.04), (0.96, 0.96), (0.04, 0.96)]
        )
        builder.decal(plate, REAR, uv, colour)
        inner = polygon(8, 0.3, 0.3, (0.5, 0.5))
        builder.decal(plate, REAR, inner, (235, 235, 235))
    elif kind == "traffic_light":
        _post(builder, 0.06, 2.2, grey)
        head = builder.add(box((-0.15, -0.15, 2.2), (0.15, 0.15, 3.1)), (36, 40, 36))
        for row, lens in enumerate(((60, 150, 60), (50, 120, 150), (40, 40, 200))):
            disc = polygon(8, 0.3, 0.12, (0.5, 0.2 + 0.3 * row))
            builder.decal(head, REAR, disc, lens)
            builder.decal(head, FRONT, disc, palette.darker(lens, 0.5))
    elif kind == "bollard":
        _post(builder, rng.uniform(0.07, 0.16), rng.uniform(0.7, 1.1), colour)
    elif kind == "bin":
        radius = rng.uniform(0.22, 0.34)
        _column(builder, radius, rng.uniform(0.8, 1.2), colour)
    elif kind == "pillar":
        _column(builder, rng.uniform(0.3, 0.6), rng.uniform(1.6, 2.8), colour)
    elif kind == "box":
        size = rng.uniform((0.3, 0.3, 0.9), (0.6, 0.8, 1.8))
        _crate(builder, size, colour, rng)
    elif kind == "container":
        size = rng.uniform((1.8, 1.0, 1.1), (4.5, 1.8, 1.9))
        _crate(builder, size, colour, rng)
    else:
        builder.add(box((-1.5, -0.7, 2.3), (1.5, 0.7, 2.4)), grey)
        wall = builder.add(box((-1.5, -0.7, 0.2), (1.5, -0.64, 2.2)), (120, 128, 120), gloss=0.3)
        builder.decal(wall, 2, [(0.1, 0.1), (0.35, 0.1), (0.35, 0.95), (0.1, 0.95)], colour)
        for x in (-1.45, 1.4):
            builder.add(box((x, 0.6, 0.0), (x + 0.05, 0.65, 2.3)), grey)
    return builder.build()


def make_tree(rng: np.random.Generator) -> Shape:
    """A tree 4-9 m high, its crown two blunt cones, or a conifer."""
    builder = ShapeBuilder(grain=0.75)
    trunk_height, radius = rng.uniform(1.8, 2.8), rng.uniform(0.10, 0.22)
    _post(builder, radius, trunk_height, (48, 62, 80))
    green = palette.foliage(rng)
    if rng.random() < 0.3:
        for level in range(3):
            z, wide = trunk_height - 0.8 + 1.5 * level, 1.5 - 0.42 * level
            ring, tip = polygon(7, wide, wide), polygon(7, 0.25 * wide, 0.25 * wide)
            builder.add(prism(ring, z + 0.8, tip, z + 2.3), palette.darker(green, 0.7))
        return builder.build()
    wide = rng.uniform(1.2, 2.2)
    z = trunk_height
    for base, top, rise in ((0.6, 1.0, 1.3), (1.0, 0.42, 1.6)):
        lower, upper = polygon(8, base * wide, base * wide), polygon(8, top * wide, top * wide)
        builder.add(prism(lower, z, upper, z + rise), palette.darker(green, 0.7 + 0.1 * rise))
        z += rise
    return builder.build()


def make_bush(rng: np.random.Generator) -> Shape:
    """A round bush, 0.6-1.6 m high."""
    builder = ShapeBuilder(grain=0.8)
    wide, height = rng.uniform(0.4, 1.0), rng.uniform(0.6, 1.6)
    green = palette.foliage(rng)
    middle = polygon(8, wide, wide)
    builder.add(
        prism(polygon(8, 0.7 * wide, 0.7 * wide), 0.0, middle, 0.45 * height), palette.darker(green, 0.8)
    )
    builder.add(prism(middle, 0.45 * height, polygon(8, 0.45 * wide, 0.45 * wide), height), green)
    return builder.build()


def make_guard_rail(length: float) -> Shape:
    """A steel rail on posts, `length` along x, metres."""
    builder = ShapeBuilder(grain=0.15)
    builder.add(box((-length / 2, -0.04, 0.45), (length / 2, 0.04, 0.75)), (165, 165, 160), reflectivity=0.5)
    for x in (-length / 2 + 0.1, 0.0):
        builder.add(box((x, -0.05, 0.0), (x + 0.1, 0.05, 0.45)), (120, 120, 120))
    return builder.build()


def _post(builder: ShapeBuilder, radius: float, height: float, colour: Colour) -> None:
    ring = polygon(6, radius, radius)
    builder.add(prism(ring, 0.0, ring, height), colour)


def _column(builder: ShapeBuilder, radius: float, height: float, colour: Colour) -> None:
    ring = polygon(8, radius, radius)
    builder.add(prism(ring, 0.0, ring, 0.85 * height), colour)
    builder.add(
        prism(ring, 0.85 * height, polygon(8, 0.7 * radius, 0.7 * radius), height),
        palette.darker(colour, 0.8),
    )


def _crate(builder: ShapeBuilder, size: np.ndarray, colour: Colour, rng: np.random.Generator) -> None:  # type: ignore[type-arg]
    x, y, z = (float(v) for v in size / (2, 2, 1))
    body = builder.add(frustum((-x, -y, 0.0), (x, y, z), (-0.97 * x, -0.97 * y, 0.97 * x, 0.97 * y)), colour)
    for face in range(4):
        if rng.random() < 0.6:
            u, v = rng.uniform(0.1, 0.4, 2)
            patch = [(u, v), (u + 0.45, v), (u + 0.45, v + 0.4), (u, v + 0.4)]
            builder.decal(body, face, patch, palette.any_colour(rng))
