"""Makes shapes from boxes, frustums and prisms, with decals on their faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from avperception.scenes.shapes.shape import NO_LAMP, Indices, Separator, Shape, Texture
from avperception.types import Float32

Colour = tuple[float, float, float]
"""Blue, green, red, each 0-255."""

FRONT, REAR, LEFT, RIGHT, TOP, BOTTOM = range(6)
"""Faces of a box or frustum in the order in which they are made."""

_TOUCHING = 1e-4  # m: parts that share a plane do not overlap


def frustum(lower: Sequence[float], upper: Sequence[float], top: Sequence[float]) -> list[Float32]:
    """Six quads of a box `lower`..`upper` (x, y, z) whose top is the rectangle `top` (x0, y0, x1, y1).

    Each quad runs bottom left, bottom right, top right, top left as seen from outside.
    """
    (x0, y0, z0), (x1, y1, z1) = lower, upper
    u0, v0, u1, v1 = top
    low = {"rl": (x0, y1, z0), "rr": (x0, y0, z0), "fl": (x1, y1, z0), "fr": (x1, y0, z0)}
    high = {"rl": (u0, v1, z1), "rr": (u0, v0, z1), "fl": (u1, v1, z1), "fr": (u1, v0, z1)}
    sides = [("fl", "fr"), ("rr", "rl"), ("rl", "fl"), ("fr", "rr")]
    quads = [[low[a], low[b], high[b], high[a]] for a, b in sides]
    quads.append([high["rr"], high["fr"], high["fl"], high["rl"]])
    quads.append([low["rr"], low["rl"], low["fl"], low["fr"]])
    return [np.array(quad, np.float32) for quad in quads]


def box(lower: Sequence[float], upper: Sequence[float]) -> list[Float32]:
    """Six quads of an axis-parallel box, in the order of `frustum`."""
    return frustum(lower, upper, (lower[0], lower[1], upper[0], upper[1]))


def extrusion(profile_xz: ArrayLike, y0: float, y1: float) -> list[Float32]:
    """Faces of a convex `profile_xz` (n, 2) drawn from `y0` to `y1`: left, right, then one quad an edge."""
    profile = np.asarray(profile_xz, np.float32)
    left = np.insert(profile, 1, y1, axis=1)
    right = np.insert(profile, 1, y0, axis=1)
    following = np.roll(np.arange(len(profile)), -1)
    quads = [np.array([right[i], right[j], left[j], left[i]]) for i, j in enumerate(following)]
    return [left, right, *quads]


def prism(bottom_xy: ArrayLike, z0: float, top_xy: ArrayLike, z1: float) -> list[Float32]:
    """Faces of a column between two similar convex polygons (n, 2): top, bottom, then one quad an edge."""
    bottom = np.insert(np.asarray(bottom_xy, np.float32), 2, z0, axis=1)
    top = np.insert(np.asarray(top_xy, np.float32), 2, z1, axis=1)
    following = np.roll(np.arange(len(bottom)), -1)
    return [top, bottom, *(np.array([bottom[i], bottom[j], top[j], top[i]]) for i, j in enumerate(following))]


def polygon(
    sides: int, radius_x: float, radius_y: float, centre: tuple[float, float] = (0.0, 0.0)
) -> Float32:
    """A regular polygon (sides, 2) squeezed to two radii around `centre`."""
    angle = (np.arange(sides) + 0.5) * (2 * np.pi / sides)
    ring = np.stack([np.cos(angle) * radius_x, np.sin(angle) * radius_y], axis=1) + centre
    return ring.astype(np.float32)


@dataclass
class _Polygon:
    points: Float32
    colour: Colour
    gloss: float = 0.0
    lamp: int = NO_LAMP
    texture: Texture | None = None
    face: int | None = None  # the face of the same part that a decal is painted on


class ShapeBuilder:
    """Collects parts and decals; `build` returns the finished Shape."""

    def __init__(self, grain: float = 0.12) -> None:
        self._grain = grain
        self._parts: list[list[_Polygon]] = []
        self._reflectivity: list[float] = []

    def add(
        self,
        faces: list[Float32],
        colour: Colour,
        *,
        reflectivity: float = 0.3,
        gloss: float = 0.0,
        textures: dict[int, Texture] | None = None,
    ) -> int:
        """Add one convex part with all faces in one colour and return its number."""
        pictures = textures or {}
        self._parts.append([_Polygon(f, colour, gloss, texture=pictures.get(i)) for i, f in enumerate(faces)])
        self._reflectivity += [reflectivity] * len(faces)
        return len(self._parts) - 1

    def recolour(self, part: int, face: int, colour: Colour) -> None:
        """Give one face of a part a colour of its own."""
        self._parts[part][face].colour = colour

    def decal(
        self,
        part: int,
        face: int,
        outline_uv: ArrayLike,
        colour: Colour,
        *,
        gloss: float = 0.0,
        lamp: int = NO_LAMP,
    ) -> None:
        """Paint a convex `outline_uv` (n, 2) on a quad face; u runs 0-1 to the right and v 0-1 up."""
        quad = self._parts[part][face].points
        u, v = np.asarray(outline_uv, np.float32).T[:, :, None]
        points = (1 - v) * ((1 - u) * quad[0] + u * quad[1]) + v * ((1 - u) * quad[3] + u * quad[2])
        self.sticker(part, face, points, colour, gloss=gloss, lamp=lamp)

    def sticker(
        self,
        part: int,
        face: int,
        points: ArrayLike,
        colour: Colour,
        *,
        gloss: float = 0.0,
        lamp: int = NO_LAMP,
    ) -> None:
        """Paint convex `points` (n, 3), which lie in the plane of a face, with that face."""
        self._parts[part].append(_Polygon(np.asarray(points, np.float32), colour, gloss, lamp, face=face))

    def build(self) -> Shape:
        """Return the shape with its ray-casting planes and the planes between its parts."""
        polygons = [polygon for part in self._parts for polygon in part]
        part = np.repeat(np.arange(len(self._parts)), [len(part) for part in self._parts])
        is_face = np.array([polygon.face is None for polygon in polygons])
        points = np.concatenate([polygon.points for polygon in polygons]).astype(np.float32)
        starts = _starts([len(polygon.points) for polygon in polygons])
        first = _starts([len(part) for part in self._parts])
        normals = _outward_normals(points, starts, part)
        painted = np.flatnonzero(~is_face)
        normals[painted] = normals[[first[part[i]] + polygons[i].face for i in painted]]
        plane_starts = _starts([sum(polygon.face is None for polygon in part) for part in self._parts])
        offsets = np.maximum.reduceat(
            (points * np.repeat(normals, np.diff(starts), axis=0)).sum(axis=1), starts[:-1]
        )
        return Shape(
            points=points,
            starts=starts,
            normals=normals,
            albedo=np.array([polygon.colour for polygon in polygons], np.float32),
            gloss=np.array([polygon.gloss for polygon in polygons], np.float32),
            part=part,
            is_face=is_face,
            lamp=np.array([polygon.lamp for polygon in polygons], np.uint8),
            textures={
                i: polygon.texture for i, polygon in enumerate(polygons) if polygon.texture is not None
            },
            plane_normals=normals[is_face],
            plane_offsets=offsets[is_face],
            plane_starts=plane_starts[:-1],
            reflectivity=np.array(self._reflectivity, np.float32),
            separators=tuple(self._separators(normals[is_face], offsets[is_face], plane_starts)),
            grain=self._grain,
        )

    def _separators(self, normals: Float32, offsets: Float32, starts: Indices) -> list[Separator]:
        if len(self._parts) == 1:
            return []
        clouds = [np.concatenate([face.points for face in part if face.face is None]) for part in self._parts]
        corners = _starts([len(cloud) for cloud in clouds])
        # outside[i, j]: the least height of part j's corners over plane i
        heights = np.concatenate(clouds) @ normals.T - offsets
        outside = np.minimum.reduceat(heights, corners[:-1], axis=0).T
        # best[a, b]: the plane of part a that part b is farthest above
        best = np.maximum.reduceat(outside, starts[:-1], axis=0)
        found = []
        for a, b in combinations(range(len(clouds)), 2):
            lower, upper = (a, b) if best[a, b] >= best[b, a] else (b, a)
            if best[lower, upper] >= -_TOUCHING:
                plane = int(starts[lower] + outside[starts[lower] : starts[lower + 1], upper].argmax())
                found.append((lower, upper, normals[plane], float(offsets[plane])))
        return found


def _starts(lengths: list[int]) -> Indices:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.intp)


def _outward_normals(points: Float32, starts: Indices, part: Indices) -> Float32:
    """Unit normals (P, 3) of planar polygons by Newell's method, away from their part's middle."""
    following = np.arange(1, len(points) + 1)
    following[starts[1:] - 1] = starts[:-1]
    a, b = points, points[following]
    products = a[:, [1, 2, 0]] * b[:, [2, 0, 1]] - a[:, [2, 0, 1]] * b[:, [1, 2, 0]]
    normals = np.add.reduceat(products, starts[:-1], axis=0)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    counts = np.diff(starts)[:, None]
    centres = np.add.reduceat(points, starts[:-1], axis=0) / counts
    first = np.flatnonzero(np.diff(part, prepend=-1))
    sizes = np.diff(np.append(first, len(part)))[:, None]
    middles = np.add.reduceat(centres, first, axis=0) / sizes
    inward = ((centres - middles[part]) * normals).sum(axis=1) < 0
    normals[inward] *= -1
    return np.asarray(normals, np.float32)
