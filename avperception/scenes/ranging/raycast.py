"""Exact intersection of rays with convex parts: the shapes that the cameras paint."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from avperception.scenes.shapes.shape import Indices, Shape
from avperception.types import Float32

_PARALLEL = np.float32(1e-9)
_FAR = np.float32(1e30)
_MANY = 100_000  # planes times rays from which parts are tried one by one


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


def _slabs(lower: Float32, upper: Float32, origins: Float32, slope: Float32) -> tuple[Float32, Float32]:
    """Ranges (R,) where rays enter and leave one box, `lower` and `upper` (3, 1)."""
    one, other = (lower - origins) / slope, (upper - origins) / slope
    return np.minimum(one, other).max(axis=0), np.maximum(one, other).min(axis=0)


def cast(shape: Shape, origins: Float32, directions: Float32) -> Hits:
    """First hits of rays with `origins` (3, R) and unit `directions` (3, R) in the shape's own frame.

    A convex part is the intersection of half-spaces: a ray is inside between the last plane it enters
    and the first it leaves. Rays that start inside a part do not hit it.
    """
    if len(shape.plane_starts) > 3 and len(shape.plane_offsets) * directions.shape[1] > _MANY:
        return _cast_by_part(shape, origins, directions)
    rate, entering, leaving = _crossings(shape.plane_normals, shape.plane_offsets, origins, directions)
    parts = pairwise([*shape.plane_starts.tolist(), len(rate)])
    # np.maximum.reduceat does the same, ten times slower
    spans = [(entering[first:end].max(axis=0), leaving[first:end].min(axis=0)) for first, end in parts]
    last_in, first_out = (np.stack(values) for values in zip(*spans, strict=True))
    last_in[(last_in > first_out) | (last_in <= 0)] = _FAR
    nearest = last_in.min(axis=0)
    hit = np.flatnonzero(nearest < _FAR)
    plane = (entering[:, hit] == nearest[hit]).argmax(axis=0)
    return Hits(hit, nearest[hit], brightness(shape.reflectivity[plane], -rate[plane, hit]))


def _cast_by_part(shape: Shape, origins: Float32, directions: Float32) -> Hits:
    """The same, one part after the other, each with the rays that meet its bounding box: for many rays."""
    count = directions.shape[1]
    nearest = np.full(count, _FAR, np.float32)
    bright = np.zeros(count, np.float32)
    slope = np.where(np.abs(directions) < _PARALLEL, _PARALLEL, directions)
    ends = [*shape.plane_starts[1:], len(shape.plane_offsets)]
    for box, first, end in zip(shape.part_boxes, shape.plane_starts, ends, strict=True):
        enters, leaves = _slabs(box[0, :, None], box[1, :, None], origins, slope)
        rows = np.flatnonzero((leaves >= enters) & (leaves > 0) & (enters < nearest))
        if not len(rows):
            continue
        rate, entering, leaving = _crossings(
            shape.plane_normals[first:end], shape.plane_offsets[first:end],
            origins.take(rows, axis=1), directions.take(rows, axis=1),
        )  # fmt: skip
        last_in = entering.max(axis=0)
        hit = np.flatnonzero((last_in <= leaving.min(axis=0)) & (last_in > 0) & (last_in < nearest[rows]))
        plane = entering[:, hit].argmax(axis=0)
        nearest[rows[hit]] = last_in[hit]
        bright[rows[hit]] = brightness(shape.reflectivity[first:end][plane], -rate[plane, hit])
    found = np.flatnonzero(nearest < _FAR)
    return Hits(found, nearest[found], bright[found])


def _crossings(
    normals: Float32, offsets: Float32, origins: Float32, directions: Float32
) -> tuple[Float32, Float32, Float32]:
    """Of F planes and R rays, (F, R): how fast a ray leaves a plane, the ranges where it enters and leaves.

    Planes along the first axis, rays along the second: reducing over planes then runs along memory.
    """
    rate = normals @ directions
    distance = offsets[:, None] - normals @ origins
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # a ray along a plane is far from leaving it, or misses
        distance /= rate
    enters = rate < 0
    return rate, np.where(enters, distance, -_FAR), np.where(enters, _FAR, distance)


def brightness(reflectivity: Float32, cosine: Float32) -> Float32:
    """How much of a pulse a surface returns, mostly by Lambert's law; `cosine` is that to its normal."""
    return reflectivity * (np.float32(0.15) + np.float32(0.85) * cosine)
