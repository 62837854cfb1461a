"""Results as what Rerun draws. The module `rerun` is given, for it is an optional dependency."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avperception.drawing.boxes import EDGES, box_corners
from avperception.drawing.palette import class_rgb
from avperception.ops import cpu
from avperception.types import (
    Bool,
    CameraModel,
    Detection3D,
    Detections2D,
    Float32,
    Float64,
    Image,
    UInt8,
)

Entity = Any
"""One of Rerun's archetypes."""

JPEG_QUALITY = 80
MASK_OPACITY = 0.45
POINT_SIZE = -1.6
"""Radius of a point; a negative one is in pixels of the screen."""

SLOW = 0.5
"""Speed [m/s] below which no arrow is drawn: most of it is noise."""

NEAREST = 0.3
"""Depth [m] in front of a camera from which the wire frame of a box is drawn over its image."""

IMAGE_PLANE_M = 1.5
_GROUND = (96, 100, 108)
_OTHER = (176, 182, 192)
_LANE = (255, 230, 40)


def image_entity(rr: Any, image: Image) -> Entity:
    """Make the picture of an image, as JPEG: a recording of an hour should fit on a disk."""
    _, data = cv2.imencode(".jpg", cpu.to_bgr(image), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return rr.EncodedImage(contents=data.tobytes(), media_type="image/jpeg", draw_order=0)


def mask_entity(rr: Any, segmentation: UInt8, classes: Sequence[str]) -> Entity:
    """Make a tint of a class mask (height, width); the background stays clear."""
    table = np.zeros((256, 1, 4), np.uint8)
    for class_id, name in enumerate(classes):
        if name and name != "background":
            red, green, blue = _color(name)
            table[class_id, 0] = blue, green, red, 255
    _, data = cv2.imencode(".png", cv2.LUT(cv2.merge([segmentation] * 4), table))
    return rr.EncodedImage(
        contents=data.tobytes(), media_type="image/png", opacity=MASK_OPACITY, draw_order=10
    )


def boxes_2d_entity(rr: Any, detections: Detections2D) -> Entity:
    """Make the 2D boxes of an image, in its pixels."""
    names = [detections.class_names[class_id] for class_id in detections.class_ids]
    labels = [f"{name} {score:.2f}" for name, score in zip(names, detections.scores, strict=True)]
    return rr.Boxes2D(
        array=detections.boxes,
        array_format=rr.Box2DFormat.XYXY,
        labels=labels,
        colors=[_color(name) for name in names],
        draw_order=30,
    )


def wire_frames_entity(
    rr: Any, detections: Iterable[Detection3D], camera: CameraModel, T_camera_target: Float64
) -> Entity:
    """Make the edges of 3D boxes as the camera sees them, its distortion included."""
    strips: list[NDArray[Any]] = []
    colors = []
    bounds, image = _field_of_view(camera), np.array([(0.0, 0.0), (camera.width, camera.height)])
    for detection in detections:
        corners = cpu.transform_points(
            box_corners(detection.center, detection.size, detection.yaw), T_camera_target
        ).astype(np.float64)
        if (corners[:, 2] < NEAREST).any():
            continue
        for edge in corners[list(EDGES), :2] / corners[list(EDGES), 2:]:
            if (seen := _clip(edge, bounds)) is None:
                continue
            pixels = cpu.distort(seen, camera.K, camera.D, camera.distortion_model) + 0.5
            if (line := _clip(pixels, image)) is not None:
                strips.append(line)
                colors.append(_color(detection.class_name))
    return rr.LineStrips2D(strips, colors=colors, radii=-1.0, draw_order=25)


def _field_of_view(camera: CameraModel) -> Float64:
    """Lowest and highest x / z and y / z within the image, (2, 2): beyond, a lens's polynomial is no lens."""
    across, down = np.linspace(0, camera.width, 9), np.linspace(0, camera.height, 9)
    border = [(x, y) for x in across for y in (0, camera.height)]
    border += [(x, y) for x in (0, camera.width) for y in down]
    rays = cpu.undistort(np.array(border) - 0.5, camera.K, camera.D, camera.distortion_model)
    return np.array([rays.min(axis=0), rays.max(axis=0)])


def _clip(line: Float64, bounds: Float64) -> Float64 | None:
    """The part of a line (2, 2) within the bounds (low, high), None if there is none."""
    low, size = bounds[0], bounds[1] - bounds[0]
    # OpenCV clips whole numbers: a hundred thousand of them across.
    steps = np.clip((line - low) / size * 1e5, -1e9, 1e9).astype(int).tolist()
    is_seen, one, other = cv2.clipLine((0, 0, 100_001, 100_001), steps[0], steps[1])
    return np.array([one, other]) * size / 1e5 + low if is_seen else None


def lanes_2d_entity(rr: Any, lanes: Sequence[Float32]) -> Entity:
    """Make lane lines (M, 2) of an image."""
    return rr.LineStrips2D(list(lanes), colors=[_LANE] * len(lanes), radii=-2.0, draw_order=20)


def lanes_3d_entity(rr: Any, lanes: Sequence[Float64]) -> Entity:
    """Make lane lines (K, 3) on the ground."""
    return rr.LineStrips3D(list(lanes), colors=[_LANE] * len(lanes), radii=0.06)


def points_entity(rr: Any, points: Float32, colors: UInt8) -> Entity:
    """Make points (N, 3) in the colours (N, 3)."""
    return rr.Points3D(points, colors=colors, radii=POINT_SIZE)


def object_colors(count: int, is_ground: Bool | None, objects: Iterable[tuple[NDArray[Any], str]]) -> UInt8:
    """Colours (count, 3) of points by the class of their object, given as rows and class; ground is dark."""
    colors: UInt8 = np.full((count, 3), _OTHER, np.uint8)
    if is_ground is not None:
        colors[is_ground] = _GROUND
    for rows, class_name in objects:
        colors[rows] = _color(class_name)
    return colors


def boxes_3d_entity(rr: Any, detections: Sequence[Detection3D]) -> Entity:
    """Make 3D boxes with class, track id and speed."""
    return rr.Boxes3D(
        centers=np.array([d.center for d in detections]).reshape(-1, 3),
        sizes=np.array([d.size for d in detections]).reshape(-1, 3),
        quaternions=[
            rr.Quaternion(xyzw=(0.0, 0.0, np.sin(d.yaw / 2), np.cos(d.yaw / 2))) for d in detections
        ],
        labels=[_label(d) for d in detections],
        colors=[_color(d.class_name) for d in detections],
        radii=0.04,
    )


def velocities_entity(rr: Any, detections: Sequence[Detection3D]) -> Entity:
    """Make an arrow from each moving object to where it is in a second."""
    moving = [d for d in detections if np.linalg.norm(d.velocity) >= SLOW]
    return rr.Arrows3D(
        origins=np.array([d.center for d in moving]).reshape(-1, 3),
        vectors=np.array([d.velocity for d in moving]).reshape(-1, 3),
        colors=[_color(d.class_name) for d in moving],
        radii=0.08,
    )


def camera_entities(rr: Any, camera: CameraModel, T_target_camera: Float64) -> tuple[Entity, Entity]:
    """Make a camera's place in the target frame, and its frustum."""
    pinhole = rr.Pinhole(
        image_from_camera=camera.K,
        resolution=(camera.width, camera.height),
        camera_xyz=rr.ViewCoordinates.RDF,
        image_plane_distance=IMAGE_PLANE_M,
    )
    return rr.Transform3D(translation=T_target_camera[:3, 3], mat3x3=T_target_camera[:3, :3]), pinhole


def _label(detection: Detection3D) -> str:
    track = f" {detection.track_id}" if detection.track_id else ""
    speed = float(np.linalg.norm(detection.velocity))
    moves = f"  {speed:.1f} m/s" if speed >= SLOW else ""
    return f"{detection.class_name}{track}{moves}"


def _color(class_name: str) -> tuple[int, int, int]:
    red, green, blue = class_rgb(class_name)
    return round(255 * red), round(255 * green), round(255 * blue)
