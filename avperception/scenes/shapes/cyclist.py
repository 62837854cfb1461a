"""Cyclists: a bicycle with its rider, as a cycle of pedalling postures."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from avperception.scenes.shapes import palette
from avperception.scenes.shapes.builder import Colour, ShapeBuilder, box, extrusion, frustum, polygon
from avperception.scenes.shapes.limbs import add_head, enclosing_size, limb
from avperception.scenes.shapes.shape import HEAD_LAMP, TAIL_LAMP, Shape

POSTURES = 6
"""Postures in one turn of the pedals."""

_WHEEL = 0.335  # m, radius
_CRANK = 0.17  # m


class Cyclist:
    """One rider's looks with the pedals at every sixth of a turn."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.scale = rng.uniform(0.92, 1.06)
        self.lean = rng.uniform(0.15, 0.34)
        self.frame = palette.any_colour(rng)
        self.skin, self.top, self.trousers = palette.skin(rng), palette.clothes(rng), palette.clothes(rng)
        self.head = palette.any_colour(rng) if rng.random() < 0.6 else palette.hair(rng)
        self.basket = rng.random() < 0.35
        self._shapes: dict[int, Shape] = {}

    @property
    def postures(self) -> int:
        """How many postures there are."""
        return POSTURES

    def shape(self, posture: int) -> Shape:
        """Rider and bicycle in one posture of the cycle."""
        if posture not in self._shapes:
            self._shapes[posture] = self._shape(2 * np.pi * posture / POSTURES)
        return self._shapes[posture]

    @cached_property
    def size(self) -> tuple[float, float, float]:
        """Length, width and height (m) of the smallest box about the origin that holds every posture.

        Wheels, handlebar and head reach farthest, and these stay where they are.
        """
        return enclosing_size([self.shape(0)])

    def _shape(self, crank: float) -> Shape:
        builder = ShapeBuilder(grain=0.25)
        self._add_bicycle(builder)
        self._add_rider(builder, crank)
        return builder.build()

    def _add_bicycle(self, builder: ShapeBuilder) -> None:
        rubber: Colour = (30, 29, 28)
        for x in (-0.53, 0.53):
            ring = polygon(12, _WHEEL, _WHEEL) * np.float32(1 / np.cos(np.pi / 12))
            outline = np.clip(ring, -_WHEEL, _WHEEL) + np.array([x, _WHEEL], np.float32)
            wheel = builder.add(extrusion(outline, -0.022, 0.022), rubber, reflectivity=0.15)
            inner = polygon(12, 0.87 * _WHEEL, 0.87 * _WHEEL) + np.array([x, _WHEEL], np.float32)
            for face, y in ((0, 0.022), (1, -0.022)):
                disc = np.stack([inner[:, 0], np.full(12, y), inner[:, 1]], axis=1)
                builder.sticker(wheel, face, disc, (112, 116, 118))
        bars = [
            ((-0.53, 0.0, 0.36), (-0.12, 0.0, 0.88)),
            ((-0.05, 0.0, 0.30), (0.38, 0.0, 0.82)),
            ((-0.05, 0.0, 0.30), (-0.18, 0.0, 0.84)),
            ((0.53, 0.0, 0.36), (0.36, 0.0, 0.98)),
            ((-0.16, 0.0, 0.80), (0.38, 0.0, 0.84)),
        ]
        for start, end in bars:
            builder.add(limb(start, end, 0.05, 0.05), self.frame, reflectivity=0.35)
        builder.add(box((0.33, -0.27, 0.98), (0.38, 0.27, 1.02)), (40, 40, 40))
        lamp = builder.add(box((0.40, -0.04, 0.86), (0.46, 0.04, 0.94)), (50, 50, 50))
        builder.decal(lamp, 0, [(0, 0), (1, 0), (1, 1), (0, 1)], (225, 225, 225), lamp=HEAD_LAMP)
        tail = builder.add(box((-0.42, -0.04, 0.62), (-0.36, 0.04, 0.70)), (40, 30, 150), reflectivity=0.9)
        builder.decal(tail, 1, [(0, 0), (1, 0), (1, 1), (0, 1)], (40, 30, 190), lamp=TAIL_LAMP)
        if self.basket:
            builder.add(box((0.48, -0.17, 0.76), (0.78, 0.17, 1.0)), (70, 90, 120))

    def _add_rider(self, builder: ShapeBuilder, crank: float) -> None:
        k, lean = self.scale, self.lean
        seat, shoulder = 0.92, 0.92 + 0.54 * k
        x_seat, x_shoulder = -0.2, -0.2 + lean + 0.1
        builder.add(
            frustum(
                (x_seat - 0.12, -0.16, seat),
                (x_seat + 0.12, 0.16, shoulder),
                (x_shoulder - 0.1, -0.19, x_shoulder + 0.1, 0.19),
            ),
            self.top,
        )
        add_head(builder, (x_shoulder + 0.06, 0.0), shoulder, shoulder + 0.29 * k, self.skin, self.head)
        for side, angle in ((1, crank), (-1, crank + np.pi)):
            pedal = (-0.05 + _CRANK * np.cos(angle), 0.12 * side, 0.30 + _CRANK * np.sin(angle))
            hip = (x_seat + 0.03, 0.10 * side, seat - 0.02)
            knee = (0.5 * (hip[0] + pedal[0]) + 0.24, 0.12 * side, 0.5 * (hip[2] + pedal[2]) + 0.10)
            builder.add(limb(hip, knee, 0.17, 0.12), self.trousers)
            builder.add(limb(knee, pedal, 0.11, 0.08), self.trousers)
            arm = (x_shoulder, 0.235 * side, shoulder - 0.06)
            builder.add(limb(arm, (0.36, 0.25 * side, 1.03), 0.09, 0.06), self.top)
