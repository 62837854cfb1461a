"""Exact intersection of rays with convex parts: the shapes that the cameras paint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avperception.scenes.shapes.shape import Indices, Shape
from avperception.types import Float32

_PARALLEL = np.float32(1e-9)
_FAR = np.float32(1e30)


@dataclass(frozen=True)
class Hits:
    """Of many rays: `rows` (H,) of those that hit, `range` (H,) m, `brightness` (H,) of the echo, 0-1."""

    rows: Indices
    range: Float32
    brightness: Float32


def meet_boxes(
    lower: Float32, upper: Float32, origins: Float32, directions: Float32
) -> tuple[Indices, Float32, Float32]:
    """Which of R rays meet their box (slab method, Kay and Kajiya 1986).

    `lower` and `upper` (3, R) bound each ray's box, `origins` and `directions` (3, R) are in its frame.
    Gives the rows that meet it, the range where they enter it and the cosine to the side they enter by.
    """
    slope = np.where(np.abs(directions) < _PARALLEL, _PARALLEL, directions)
    one, other = (lower - origins) / slope, (upper - origins) / slope
    first, last = np.minimum(one, other), np.maximum(one, other)
    enters = np.maximum(np.maximum(first[0], first[1]), first[2])
    leaves = np.minimum(np.minimum(last[0], last[1]), last[2])
    rows = np.flatnonzero((leaves >= enters) & (leaves > 0))
    axis = first[:, rows].argmax(axis=0)
    return rows, enters[rows], np.abs(directions[axis, rows])


def cast(shape: Shape, origins: Float32, directions: Float32) -> Hits:
    """First hits of rays with `origins` (3, R) and unit `directions` (3, R) in the shape's own frame.

    A convex part is the intersection of half-spaces: a ray is inside between the last plane it enters
    and the first it leaves. Rays that start inside a part do not hit it.
    """
    # planes along the first axis, rays along the second: reducing over planes then runs along memory
    rate = shape.plane_normals @ directions
    distance = shape.plane_offsets[:, None] - shape.plane_normals @ origins
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # a ray along a plane is far from leaving it, or misses
        distance /= rate
    enters = rate < 0
    entering = np.where(enters, distance, -_FAR)
    leaving = np.where(enters, _FAR, distance)
    ends = [*shape.plane_starts[1:], len(rate)]
    parts = list(zip(shape.plane_starts, ends, strict=True))
    # np.maximum.reduceat does the same, ten times slower
    last_in = np.stack([entering[first:end].max(axis=0) for first, end in parts])
    first_out = np.stack([leaving[first:end].min(axis=0) for first, end in parts])
    last_in[(last_in > first_out) | (last_in <= 0)] = _FAR
    nearest = last_in.min(axis=0)
    hit = np.flatnonzero(nearest < _FAR)
    plane = (entering[:, hit] == nearest[hit]).argmax(axis=0)
    return Hits(hit, nearest[hit], brightness(shape.reflectivity[plane], -rate[plane, hit]))


def brightness(reflectivity: Float32, cosine: Float32) -> Float32:
    """How much of a pulse a surface returns, mostly by Lambert's law; `cosine` is that to its normal."""
    return reflectivity * (np.float32(0.15) + np.float32(0.85) * cosine)
