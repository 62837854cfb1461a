"""Parts that people are made of: limbs between two joints, and heads."""

from __future__ import annotations

import numpy as np

from avperception.scenes.shapes.builder import Colour, ShapeBuilder, polygon, prism
from avperception.scenes.shapes.shape import Shape
from avperception.types import Float32

Joint = tuple[float, float, float]


def limb(start: Joint, end: Joint, start_width: float, end_width: float) -> list[Float32]:
    """Six quads of a tapered bar between two joints, not along y; widths are metres across."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    along_x, _, along_z = b - a
    length = float(np.hypot(along_x, along_z))
    across = np.array([0.0, 1.0, 0.0])
    other = np.array([-along_z / length, 0.0, along_x / length])
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    near = [a + 0.5 * start_width * (i * across + j * other) for i, j in corners]
    far = [b + 0.5 * end_width * (i * across + j * other) for i, j in corners]
    sides = [[near[i], near[(i + 1) % 4], far[(i + 1) % 4], far[i]] for i in range(4)]
    return [np.array(face, np.float32) for face in [*sides, near, far]]


def add_head(
    builder: ShapeBuilder, centre: tuple[float, float], z0: float, z1: float, skin: Colour, hair: Colour
) -> None:
    """Add neck, face and hair (or a helmet) between the heights `z0` and `z1`, metres."""
    rise = z1 - z0
    neck, jaw, brow = z0 + 0.16 * rise, z0 + 0.2 * rise, z0 + 0.68 * rise
    builder.add(prism(polygon(6, 0.05, 0.05, centre), z0, polygon(6, 0.05, 0.05, centre), neck), skin)
    face = prism(polygon(8, 0.075, 0.06, centre), jaw - 0.04 * rise, polygon(8, 0.1, 0.08, centre), brow)
    builder.add(face, skin)
    builder.add(prism(polygon(8, 0.105, 0.084, centre), brow, polygon(8, 0.0625, 0.05, centre), z1), hair)


def enclosing_size(shapes: list[Shape]) -> tuple[float, float, float]:
    """Length, width and height (m) of the smallest upright box about the origin that holds all shapes."""
    reach = np.max([np.maximum(-shape.lower, shape.upper) for shape in shapes], axis=0)
    return (2 * float(reach[0]), 2 * float(reach[1]), float(reach[2]))
