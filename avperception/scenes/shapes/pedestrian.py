"""Pedestrians: head, trunk, arms and legs, as a cycle of walking postures."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from avperception.scenes.shapes import palette
from avperception.scenes.shapes.builder import ShapeBuilder, box, frustum, polygon, prism
from avperception.scenes.shapes.limbs import add_head, enclosing_size, limb
from avperception.scenes.shapes.shape import Shape
from avperception.types import Float32

POSTURES = 8
"""Postures in one cycle of two steps."""


class Pedestrian:
    """One person's looks in every posture of the walking cycle.

    Height is 1.15-1.95 m. All postures lie in the box `size` (length, width, height).
    """

    def __init__(self, rng: np.random.Generator, *, walking: bool) -> None:
        self.height = float(rng.normal(1.72, 0.09)) if rng.random() < 0.88 else float(rng.uniform(1.15, 1.45))
        self.height = float(np.clip(self.height, 1.15, 1.95))
        self.build_factor = rng.uniform(0.85, 1.25)
        self.walking = walking
        self.skin, self.hair = palette.skin(rng), palette.hair(rng)
        self.top, self.trousers, self.shoes = (palette.clothes(rng) for _ in range(3))
        self.bare_arms = rng.random() < 0.3
        self.hem = 0.30 if rng.random() < 0.25 else 0.47
        self.bag = palette.any_colour(rng) if rng.random() < 0.3 else None
        self._shapes: dict[int, Shape] = {}

    @property
    def postures(self) -> int:
        """How many postures there are: one if the person stands."""
        return POSTURES if self.walking else 1

    def shape(self, posture: int) -> Shape:
        """The person in one posture of the cycle."""
        if posture not in self._shapes:
            swing = float(np.sin(2 * np.pi * posture / POSTURES)) if self.walking else 0.12
            self._shapes[posture] = self._shape(swing)
        return self._shapes[posture]

    @cached_property
    def size(self) -> tuple[float, float, float]:
        """Length, width and height (m) of the smallest box about the origin that holds every posture."""
        widest = (POSTURES // 4, 3 * POSTURES // 4) if self.walking else (0,)
        return enclosing_size([self.shape(posture) for posture in widest])

    def _shape(self, swing: float) -> Shape:
        h, wide = self.height, self.build_factor
        builder = ShapeBuilder(grain=0.3)
        hem, shoulder = self.hem * h, 0.82 * h
        for side in (1, -1):
            self._add_leg(builder, side, side * swing, hem)
            self._add_arm(builder, side, -side * swing)
        bottom, chest = _oval(0.18 * wide if self.hem > 0.4 else 0.23 * wide), _oval(0.205 * wide)
        builder.add(prism(bottom, hem, chest, 0.72 * h), self.top)
        builder.add(prism(chest, 0.72 * h, _oval(0.12), shoulder), self.top)
        if self.bag is not None:
            back = -0.16 * wide
            builder.add(box((back - 0.15, -0.14, 0.52 * h), (back, 0.14, 0.76 * h)), self.bag)
        add_head(builder, (0.02, 0.0), shoulder, h, self.skin, self.hair)
        return builder.build()

    def _add_leg(self, builder: ShapeBuilder, side: int, swing: float, hem: float) -> None:
        y = 0.095 * self.build_factor * side
        foot = 0.19 * self.height * swing
        knee = (0.45 * foot + 0.03, y, 0.27 * self.height)
        lift = 0.05 if swing < -0.5 else 0.0
        if hem > knee[2]:
            builder.add(limb((0.0, y, hem), knee, 0.17 * self.build_factor, 0.13), self.trousers)
        builder.add(limb(knee, (foot, y, 0.08 + lift), 0.13, 0.09), self.trousers)
        sole = lift * 0.6
        builder.add(
            frustum(
                (foot - 0.09, y - 0.05, sole),
                (foot + 0.17, y + 0.05, sole + 0.09),
                (foot - 0.08, y - 0.045, foot + 0.08, y + 0.045),
            ),
            self.shoes,
        )

    def _add_arm(self, builder: ShapeBuilder, side: int, swing: float) -> None:
        y = (0.205 * self.build_factor + 0.055) * side
        shoulder = (0.0, y, 0.795 * self.height)
        elbow = (0.08 * self.height * swing - 0.02, y, 0.63 * self.height)
        hand = (0.15 * self.height * swing + 0.07, y, 0.47 * self.height)
        builder.add(limb(shoulder, elbow, 0.10, 0.085), self.top)
        builder.add(limb(elbow, hand, 0.085, 0.07), self.skin if self.bare_arms else self.top)


def _oval(half_width: float) -> Float32:
    """Outline (8, 2) of a trunk; all are alike, so that the faces between two of them are planar."""
    return polygon(8, 0.75 * half_width, half_width)
