"""Exact ground truth of one moment: 3D boxes, 2D boxes with what hides them, lane lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from avperception.scenes.actors import Cast
from avperception.scenes.render.camera import Picture
from avperception.scenes.render.ground_plan import PAINT_RANGE
from avperception.scenes.render.lens import Lens
from avperception.scenes.render.outlines import SUBPIXEL_BITS, to_subpixels
from avperception.scenes.render.painter import FIRST_SOLID
from avperception.scenes.road import Road
from avperception.scenes.solid import Solid
from avperception.types import Float32, Float64

_LANE_STEP = 1.0  # m between the points of a lane line
_LANE_BEHIND = 10.0  # m
_EDGE_STEPS = 8  # points along each edge of an outline that a lens bends


@dataclass(frozen=True)
class ObjectTruth:
    """One actor's box in base_link: `center` (3,) and `size` (3,) length, width, height in metres.

    `yaw` turns x towards y, radians. `velocity` (3,) m/s is over ground, along base_link's axes.
    `lidar_points` of the sweep at the same stamp are on it.
    """

    track_id: int
    class_name: str
    center: Float64
    size: Float64
    yaw: float
    velocity: Float64
    lidar_points: int = 0


@dataclass(frozen=True)
class BoxTruth:
    """One actor in one image: `box` (4,) x1 y1 x2 y2 in pixels around all of it that is within the image.

    `visible` is the share of its outline within the image that nothing hides, `truncated` the share
    of its outline that is outside the image, both 0-1. `center_camera` (3,) metres, optical frame.
    """

    track_id: int
    class_name: str
    box: Float64
    visible: float
    truncated: float
    center_camera: Float64


@dataclass(frozen=True)
class LaneTruth:
    """One lane line: `points_base` (N, 3) m along the middle of its paint, back to front, in base_link."""

    number: int
    points_base: Float64
    is_solid: bool


def object_truth(solids: Sequence[Solid], cast: Cast, T_world_base: Float64) -> list[ObjectTruth]:
    """Boxes of the actors among `solids`."""
    rotation = T_world_base[:3, :3].T
    own_yaw = float(np.arctan2(T_world_base[1, 0], T_world_base[0, 0]))
    found = []
    for solid in solids:
        if not solid.track_id:
            continue
        actor = cast.actors[solid.track_id - 1]
        middle = solid.position + (0.0, 0.0, 0.5 * actor.size[2])
        yaw = np.mod(solid.yaw - own_yaw + np.pi, 2 * np.pi) - np.pi
        found.append(
            ObjectTruth(
                solid.track_id,
                actor.class_name,
                rotation @ (middle - T_world_base[:3, 3]),
                np.array(actor.size),
                float(yaw),
                rotation @ (*solid.velocity, 0.0),
            )
        )
    return found


def lane_truth(road: Road, s: float, T_world_base: Float64) -> list[LaneTruth]:
    """The lane lines about `s`, from the leftmost (number 0) to the right."""
    low, high = max(s - _LANE_BEHIND, road.line.s0), min(s + PAINT_RANGE, road.line.s1)
    along = np.arange(low, high, _LANE_STEP)
    rotation = T_world_base[:3, :3]
    lanes = []
    for number, line in enumerate(road.lane_lines):
        x, y, _ = road.line.pose(along, np.full_like(along, line.d))
        world = np.stack([x, y, np.zeros_like(x)], axis=1)
        lanes.append(LaneTruth(number, (world - T_world_base[:3, 3]) @ rotation, line.is_solid))
    return lanes


def box_truth(picture: Picture, lens: Lens, cast: Cast) -> list[BoxTruth]:
    """2D boxes of the actors of which a picture shows at least one pixel."""
    found = []
    for number, solid in enumerate(picture.solids):
        if solid.track_id:
            box = _box(picture, lens, number, solid, cast)
            if box is not None:
                found.append(box)
    return found


def _box(picture: Picture, lens: Lens, number: int, solid: Solid, cast: Cast) -> BoxTruth | None:
    silhouette = picture.silhouettes.get(number)
    if silhouette is None or not silhouette.area:
        return None
    x0, y0, x1, y1 = silhouette.window
    label = FIRST_SOLID + number
    own = cv2.inRange(picture.ideal_ids[y0:y1, x0:x1], label, label)
    seen = cv2.countNonZero(own if lens.maps is None else own & lens.in_view[y0:y1, x0:x1])
    box = _image_box(silhouette.hull, lens) if seen else None
    if box is None:
        return None
    actor = cast.actors[solid.track_id - 1]
    middle = solid.position + (0.0, 0.0, 0.5 * actor.size[2])
    T = picture.T_camera_world
    return BoxTruth(
        solid.track_id,
        actor.class_name,
        box,
        seen / silhouette.area,
        _truncated(silhouette.hull, lens, silhouette.window),
        T[:3, :3] @ middle + T[:3, 3],
    )


def _image_box(hull: Float32, lens: Lens) -> Float64 | None:
    """Bounds (4,) of an outline in the image, half a pixel beyond pixel centres (see types)."""
    points = hull.astype(np.float64)
    if lens.maps is not None:
        part = np.linspace(0, 1, _EDGE_STEPS, endpoint=False)[None, :, None]
        edges = points[:, None] + part * (np.roll(points, -1, axis=0) - points)[:, None]
        limits = np.array([lens.width - 1, lens.height - 1], np.float64)
        points = lens.distorted_points(np.clip(edges.reshape(-1, 2), 0.0, limits))
    size = (lens.camera.model.width, lens.camera.model.height)
    low, high = np.maximum(points.min(axis=0) + 0.5, 0.0), np.minimum(points.max(axis=0) + 0.5, size)
    return np.concatenate([low, high]) if (high > low).all() else None


def _truncated(hull: Float32, lens: Lens, window: tuple[int, int, int, int]) -> float:
    """Share of an outline's area that is outside the image."""
    x0, y0, x1, y1 = window
    apart = x0 > 0 and y0 > 0 and x1 < lens.width and y1 < lens.height
    if apart and (lens.maps is None or lens.in_view[y0:y1, x0:x1].all()):
        return 0.0
    whole = cv2.contourArea(hull)
    if whole <= 0:
        return 0.0
    right, bottom = lens.width - 0.5, lens.height - 0.5
    frame = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]], np.float32)
    inside, _ = cv2.intersectConvexConvex(hull, frame)
    if lens.maps is not None:  # the image covers a part of the ideal picture only
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillConvexPoly(
            mask, to_subpixels(hull - np.array([x0, y0], np.float32)), 1, cv2.LINE_8, SUBPIXEL_BITS
        )
        painted = max(cv2.countNonZero(mask), 1)
        inside *= cv2.countNonZero(mask & lens.in_view[y0:y1, x0:x1]) / painted
    return float(np.clip(1 - inside / whole, 0.0, 1.0))
