"""All polygons that one camera sees, in painter's order and in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avperception.scenes.render.order import painting_order
from avperception.scenes.render.outlines import NEAR
from avperception.scenes.shapes.shape import NO_LAMP, Indices, Texture
from avperception.scenes.solid import Solid
from avperception.types import Bool, Float32, Float64

_PLAIN = 14  # pixels of height below which decals are left out


@dataclass(frozen=True)
class Mesh:
    """Polygons of the `solids` that a camera may see, back to front.

    `points_camera` (N, 3) metres, optical frame; polygon i is `starts[i]:starts[i + 1]`. `solid` (P,) is
    its place in `solids`. `normals` (P, 3) and `centres` (P, 3) are in the world, `centres` relative to
    the eye. `visible` (P,): faces the camera and lies before it; `clipped` (P,): crosses the near plane.
    """

    solids: list[Solid]
    points_camera: Float32
    starts: Indices
    solid: Indices
    normals: Float32
    centres: Float32
    albedo: Float32
    gloss: Float32
    lamp: NDArray[np.uint8]
    is_face: Bool
    textures: dict[int, Texture]
    visible: Bool
    clipped: Bool


def make_mesh(
    solids: Sequence[Solid], T_camera_world: Float64, half_view: tuple[float, float], focal: float
) -> Mesh:
    """Collect what a camera may see.

    `half_view` is the tangent of the view to each side, and up or down; `focal` is in pixels.
    """
    eye = -T_camera_world[:3, :3].T @ T_camera_world[:3, 3]
    seen = _within_view(solids, T_camera_world, half_view)
    ordered = [seen[i] for i in painting_order(seen, eye)]
    rotation = T_camera_world[:3, :3].astype(np.float32)
    points, normals, index, sizes, textures = [], [], [], [], {}
    first = 0
    for solid in ordered:
        place, shape = (solid.position - eye).astype(np.float32), solid.shape
        order = shape.painting_order(-solid.rotation.T @ place)
        if focal * shape.upper[2] < _PLAIN * np.hypot(place[0], place[1]):
            order = order[shape.is_face[order] | (shape.lamp[order] != NO_LAMP)]
        points.append(solid.turned_points + place)
        normals.append(solid.turned_normals[order])
        index.append(order)
        sizes.append(len(order))
        if shape.textures:
            textures.update(
                {first + i: shape.textures[k] for i, k in enumerate(order) if k in shape.textures}
            )
        first += len(order)
    if not ordered:
        return _empty()
    all_points = np.concatenate(points)
    starts, gather = _reordered([solid.shape.starts for solid in ordered], index)
    placed = all_points[gather]
    counts = np.diff(starts)[:, None]
    centres = (np.add.reduceat(placed, starts[:-1], axis=0) / counts).astype(np.float32)
    facing = np.concatenate(normals)
    points_camera = placed @ rotation.T
    nearest = np.minimum.reduceat(points_camera[:, 2], starts[:-1])
    farthest = np.maximum.reduceat(points_camera[:, 2], starts[:-1])
    towards = (facing * placed[starts[:-1]]).sum(axis=1) < 0
    return Mesh(
        solids=ordered,
        points_camera=points_camera,
        starts=starts,
        solid=np.repeat(np.arange(len(ordered)), sizes),
        normals=facing,
        centres=centres,
        albedo=np.concatenate([solid.shape.albedo[k] for solid, k in zip(ordered, index, strict=True)]),
        gloss=np.concatenate([solid.shape.gloss[k] for solid, k in zip(ordered, index, strict=True)]),
        lamp=np.concatenate([solid.shape.lamp[k] for solid, k in zip(ordered, index, strict=True)]),
        is_face=np.concatenate([solid.shape.is_face[k] for solid, k in zip(ordered, index, strict=True)]),
        textures=textures,
        visible=towards & (farthest > NEAR),
        clipped=nearest < NEAR,
    )


def _within_view(
    solids: Sequence[Solid], T_camera_world: Float64, half_view: tuple[float, float]
) -> list[Solid]:
    centres = np.array([(solid.x, solid.y, solid.z) for solid in solids]).reshape(-1, 3)
    low = np.array([solid.shape.lower for solid in solids]).reshape(-1, 3)
    high = np.array([solid.shape.upper for solid in solids]).reshape(-1, 3)
    centres[:, 2] += 0.5 * (low[:, 2] + high[:, 2])
    reach = np.maximum(np.abs(low), np.abs(high))
    reach[:, 2] = 0.5 * (high[:, 2] - low[:, 2])
    radius = np.linalg.norm(reach, axis=1)
    x, y, z = T_camera_world[:3, :3] @ centres.T + T_camera_world[:3, 3:]
    wide, tall = half_view
    inside = (z > -radius) & (np.abs(x) < wide * z + radius * np.hypot(1, wide))
    inside &= np.abs(y) < tall * z + radius * np.hypot(1, tall)
    return [solids[i] for i in np.flatnonzero(inside)]


def _reordered(starts: list[Indices], order: list[Indices]) -> tuple[Indices, Indices]:
    """Starts (P + 1,) of all polygons in painting order, and where in the end-to-end points theirs are."""
    base = np.cumsum([0] + [int(start[-1]) for start in starts])
    first = np.concatenate(
        [start[k] + offset for start, k, offset in zip(starts, order, base[:-1], strict=True)]
    )
    length = np.concatenate([np.diff(start)[k] for start, k in zip(starts, order, strict=True)])
    new = np.concatenate([[0], np.cumsum(length)]).astype(np.intp)
    gather = np.arange(new[-1]) + np.repeat(first - new[:-1], length)
    return new, gather


def _empty() -> Mesh:
    none = np.zeros((0, 3), np.float32)
    flat, flags = np.zeros(0, np.intp), np.zeros(0, bool)
    return Mesh(
        [], none, np.zeros(1, np.intp), flat, none, none, none, np.zeros(0, np.float32),
        np.zeros(0, np.uint8), flags, {}, flags, flags,
    )  # fmt: skip
