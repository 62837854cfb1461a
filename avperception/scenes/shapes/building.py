"""Buildings and walls that line the road."""

from __future__ import annotations

import numpy as np

from avperception.scenes import textures
from avperception.scenes.shapes import palette
from avperception.scenes.shapes.builder import FRONT, LEFT, REAR, RIGHT, TOP, ShapeBuilder, box
from avperception.scenes.shapes.shape import Shape

_STOREY = 3.0  # m


def make_building(length: float, depth: float, rng: np.random.Generator, *, lit_windows: bool) -> Shape:
    """A house of 2-6 storeys, `length` along the road (x) and `depth` away from it, metres."""
    storeys = int(rng.integers(2, 7))
    variant = int(rng.integers(48))
    rows = {
        face: max(1, round(span / 2.8))
        for face, span in ((FRONT, depth), (REAR, depth), (LEFT, length), (RIGHT, length))
    }
    pictures = {
        face: textures.facade(variant, columns, storeys, lit_windows) for face, columns in rows.items()
    }
    builder = ShapeBuilder(grain=0.0)
    height = storeys * _STOREY
    house = builder.add(
        box((-length / 2, -depth / 2, 0.0), (length / 2, depth / 2, height)),
        (150, 155, 160),
        reflectivity=0.35,
        textures=pictures,
    )
    builder.recolour(house, TOP, (70, 74, 84))
    if rng.random() < 0.5:
        roof = box(
            (-length / 2 + 0.5, -depth / 2 + 0.5, height), (length / 2 - 0.5, depth / 2 - 0.5, height + 1.6)
        )
        builder.add(roof, (62, 70, 96))
    return builder.build()


def make_wall(length: float, height: float, rng: np.random.Generator, *, hedge: bool) -> Shape:
    """A garden wall or hedge, `length` along the road (x), metres."""
    variant = int(rng.integers(48))
    draw = textures.leaves if hedge else textures.brickwork
    side, end = draw(variant, max(1, round(length / height))), draw(variant, 1)
    thickness = 0.8 if hedge else 0.25
    builder = ShapeBuilder(grain=0.0)
    builder.add(
        box((-length / 2, -thickness / 2, 0.0), (length / 2, thickness / 2, height)),
        palette.foliage(rng) if hedge else palette.masonry(rng),
        reflectivity=0.4 if hedge else 0.35,
        textures={LEFT: side, RIGHT: side, FRONT: end, REAR: end},
    )
    return builder.build()


def make_slab(
    size: tuple[float, float, float],
    colour: tuple[float, float, float],
    *,
    picture: int | None = None,
    lamp: int = 0,
) -> Shape:
    """A plain block (x, y, z metres) for tunnels; `picture` numbers the brickwork on its sides.

    With a `lamp` kind its underside carries a strip of light.
    """
    length, width, height = size
    builder = ShapeBuilder(grain=0.0)
    sides = {}
    if picture is not None:
        spans = {LEFT: length, RIGHT: length, FRONT: width, REAR: width}
        sides = {f: textures.brickwork(picture, max(1, round(span / height))) for f, span in spans.items()}
    lower, upper = (-length / 2, -width / 2, 0.0), (length / 2, width / 2, height)
    part = builder.add(box(lower, upper), colour, textures=sides)
    if lamp:
        strip = [(-0.8, -0.15, 0.0), (0.8, -0.15, 0.0), (0.8, 0.15, 0.0), (-0.8, 0.15, 0.0)]
        builder.sticker(part, 5, strip, (215, 240, 250), lamp=lamp)
    return builder.build()
