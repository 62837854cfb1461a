"""Passenger cars: saloon, hatchback, SUV and van, from one profile with different proportions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avperception.scenes.shapes import palette
from avperception.scenes.shapes.builder import (
    FRONT,
    LEFT,
    REAR,
    RIGHT,
    Colour,
    ShapeBuilder,
    extrusion,
    frustum,
    polygon,
)
from avperception.scenes.shapes.shape import HEAD_LAMP, TAIL_LAMP, Shape

_CLEARANCE = 0.22  # m between road and body
_GLASS: Colour = (48, 44, 40)
_RUBBER: Colour = (26, 25, 24)
_BODY_LEFT, _BODY_RIGHT, _BODY_FRONT, _BODY_HOOD, _BODY_REAR = 0, 1, 4, 6, 9


@dataclass(frozen=True)
class _Style:
    length: tuple[float, float]
    width: tuple[float, float]
    height: tuple[float, float]
    shoulder: float  # height of the body below the windows, of the whole height
    bonnet: float  # length of the bonnet, of the whole length
    boot: float
    windscreen: float  # run of the windscreen, metres
    rear_window: float


_STYLES = {
    "saloon": _Style((4.3, 4.8), (1.76, 1.86), (1.40, 1.50), 0.63, 0.26, 0.15, 0.75, 0.65),
    "hatchback": _Style((3.8, 4.3), (1.70, 1.82), (1.44, 1.56), 0.62, 0.22, 0.03, 0.75, 0.35),
    "suv": _Style((4.2, 4.7), (1.80, 1.94), (1.60, 1.78), 0.60, 0.23, 0.03, 0.60, 0.30),
    "van": _Style((4.4, 4.9), (1.80, 1.94), (1.80, 2.00), 0.52, 0.14, 0.02, 0.70, 0.12),
}


def make_car(rng: np.random.Generator) -> Shape:
    """A car of random style, size (3.8-4.9 m long) and paint."""
    style = _STYLES[str(rng.choice(list(_STYLES), p=[0.34, 0.34, 0.22, 0.10]))]
    length, width, height = (rng.uniform(*span) for span in (style.length, style.width, style.height))
    paint = palette.car_paint(rng)
    builder = ShapeBuilder(grain=0.07)
    body = _add_body(builder, style, length, width, height, paint)
    _add_cabin(builder, style, length, width, height, paint)
    _add_lamps(builder, body, rng)
    radius = rng.uniform(0.31, 0.35)
    rim: Colour = (150, 150, 150) if rng.random() < 0.7 else (60, 60, 62)
    for x in (-0.29 * length, 0.31 * length):
        add_wheel(builder, body, (_BODY_LEFT, _BODY_RIGHT), x, width / 2, radius, _CLEARANCE, rim)
    return builder.build()


def _add_body(
    builder: ShapeBuilder, style: _Style, length: float, width: float, height: float, paint: Colour
) -> int:
    half, shoulder = length / 2, style.shoulder * height
    profile = [
        (-half + 0.08, _CLEARANCE),
        (half - 0.10, _CLEARANCE),
        (half, _CLEARANCE + 0.20),
        (half, 0.70 * shoulder),
        (half - 0.14, 0.82 * shoulder),
        (half - style.bonnet * length, shoulder),
        (-half + 0.10, shoulder),
        (-half, shoulder - 0.16),
        (-half, _CLEARANCE + 0.20),
    ]
    body = builder.add(extrusion(profile, -width / 2, width / 2), paint, reflectivity=0.45, gloss=0.16)
    low, high = _CLEARANCE + 0.02, 0.94 * shoulder
    for face, side in ((_BODY_LEFT, width / 2), (_BODY_RIGHT, -width / 2)):
        sill = [(-half + 0.1, side, low), (half - 0.1, side, low), (half - 0.05, side, low + 0.1)]
        sill.append((-half + 0.05, side, low + 0.1))
        builder.sticker(body, face, sill, palette.darker(paint, 0.5))
        for x in (-0.16 * length, 0.07 * length):
            builder.sticker(body, face, _upright(x, x + 0.025, side, low, high), palette.darker(paint, 0.4))
            handle = _upright(x + 0.06, x + 0.24, side, 0.86 * shoulder, 0.89 * shoulder)
            builder.sticker(body, face, handle, palette.darker(paint, 0.6))
    return body


def _add_cabin(
    builder: ShapeBuilder, style: _Style, length: float, width: float, height: float, paint: Colour
) -> None:
    half, shoulder = length / 2, style.shoulder * height
    front, rear = half - style.bonnet * length, -half + style.boot * length + 0.10
    wide, narrow = 0.47 * width, 0.40 * width
    top = (rear + style.rear_window, -narrow, front - style.windscreen, narrow)
    cabin = builder.add(
        frustum((rear, -wide, shoulder), (front, wide, height), top), paint, reflectivity=0.4, gloss=0.16
    )
    builder.decal(cabin, FRONT, [(0.06, 0.06), (0.94, 0.06), (0.93, 0.92), (0.07, 0.92)], _GLASS, gloss=0.42)
    builder.decal(cabin, REAR, [(0.08, 0.12), (0.92, 0.12), (0.90, 0.88), (0.10, 0.88)], _GLASS, gloss=0.36)
    for face in (LEFT, RIGHT):
        builder.decal(
            cabin, face, [(0.06, 0.08), (0.47, 0.08), (0.47, 0.88), (0.09, 0.88)], _GLASS, gloss=0.36
        )
        builder.decal(
            cabin, face, [(0.52, 0.08), (0.94, 0.08), (0.91, 0.88), (0.52, 0.88)], _GLASS, gloss=0.36
        )


def _add_lamps(builder: ShapeBuilder, body: int, rng: np.random.Generator) -> None:
    """On an extruded face u runs along the profile (upwards in front, downwards behind), v to the left."""
    inner = rng.uniform(0.20, 0.27)
    low = rng.uniform(0.5, 0.65)
    for v0, v1 in ((0.02, inner), (1 - inner, 0.98)):
        lamp = [(low, v0), (0.97, v0), (0.97, v1), (low, v1)]
        builder.decal(body, _BODY_FRONT, lamp, (225, 228, 225), gloss=0.3, lamp=HEAD_LAMP)
        builder.decal(
            body, _BODY_REAR, [(0.05, v0), (0.42, v0), (0.42, v1), (0.05, v1)], (30, 24, 150), lamp=TAIL_LAMP
        )
    grille = [(0.15, 0.3), (0.72, 0.3), (0.72, 0.7), (0.15, 0.7)]
    builder.decal(body, _BODY_FRONT, grille, (32, 32, 32))
    builder.decal(body, _BODY_FRONT, [(0.10, 0.4), (0.32, 0.4), (0.32, 0.6), (0.10, 0.6)], (215, 220, 220))
    builder.decal(body, _BODY_REAR, [(0.5, 0.38), (0.76, 0.38), (0.76, 0.62), (0.5, 0.62)], (215, 220, 220))
    builder.decal(body, _BODY_REAR, [(0.86, 0.02), (1.0, 0.02), (1.0, 0.98), (0.86, 0.98)], (38, 38, 38))


def add_wheel(
    builder: ShapeBuilder,
    body: int,
    sides: tuple[int, int],
    x: float,
    y: float,
    radius: float,
    clearance: float,
    rim: Colour,
) -> None:
    """Add an axle at `x`: below the body tyres of its own, on the body's `sides` (left, right) their discs.

    Where body and tyre share the plane at `y` the disc is painted over both, so the wheel looks round.
    """
    angle = np.linspace(-np.pi, 0, 9)
    chord = np.sqrt(max(radius**2 - (radius - clearance) ** 2, 1e-4))
    ring = np.stack([radius * np.cos(angle), radius + radius * np.sin(angle)], axis=1)
    ring = ring[ring[:, 1] < clearance - 0.01]
    outline = np.concatenate([[(-chord, clearance)], ring, [(chord, clearance)]]) + (x, 0.0)
    disc, hub = polygon(12, radius, radius), polygon(8, 0.62 * radius, 0.62 * radius)
    arch = polygon(12, 1.14 * radius, 1.14 * radius)
    arch = np.clip(arch, (-np.inf, clearance - radius), None)
    for face, inner, outer in ((sides[0], y - 0.22, y), (sides[1], -y, -y + 0.22)):
        builder.add(extrusion(outline, inner, outer), _RUBBER, reflectivity=0.08)
        plane = y if face == sides[0] else -y
        for ring_xz, colour in ((arch, (18.0, 18.0, 18.0)), (disc, _RUBBER), (hub, rim)):
            builder.sticker(body, face, _disc(ring_xz, x, plane, radius), colour)


def _disc(ring_xz: np.ndarray, x: float, y: float, z: float) -> np.ndarray:  # type: ignore[type-arg]
    return np.stack([ring_xz[:, 0] + x, np.full(len(ring_xz), y), ring_xz[:, 1] + z], axis=1)


def _upright(x0: float, x1: float, y: float, z0: float, z1: float) -> list[tuple[float, float, float]]:
    return [(x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)]
