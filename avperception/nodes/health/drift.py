"""Whether a camera and the lidar still look the same way: the angle between objects and their 2D boxes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from avperception.errors import MessageError
from avperception.nodes.diagnostics import Problem
from avperception.nodes.health.limits import Limits
from avperception.nodes.worker import Worker
from avperception.ops import cpu
from avperception.pipeline.fusion import CameraView
from avperception.types import CameraDetections, Detection3D, Float32, Float64, FusedResult

PERIOD_S = 1.0
"""Sweeps are looked at this far apart, on a thread of their own."""

OBJECTS_KEPT, LEAST_OBJECTS, FORGOTTEN_S = 200, 30, 120.0
"""The median is of the last objects of a camera, told from the least on, and no older than that."""

LEAST_WIDTH_DEG = 5.0
"""A narrower object leaves its own box when the view turns, and the background takes its place in it."""

LEAST_POINTS = 15
LEAST_OVERLAP = 0.3
MARGIN_M = 0.5
EDGE = 3.0
"""A 2D box this near to the edge of the image is cut off by it [pixels]."""


class ViewProvider(Protocol):
    """Gives a camera's calibration and place for one of its results, or a MessageError."""

    def view(self, result: CameraDetections, sweep_ns: int | None = None) -> CameraView: ...


@dataclass(frozen=True)
class Drift:
    """By how much a camera's boxes lie to the right of the lidar's objects: the median of so many [deg]."""

    angle_deg: float
    objects: int


class DriftWatch:
    """Keeps, for each camera, by which angle its boxes lie beside the lidar's objects.

    Without drift the angles of many objects cancel: a box is as often too far left as too far right. One
    that stays means that camera or lidar were turned, or that the sensors' stamps are of different times.
    """

    def __init__(
        self,
        views: Mapping[str, ViewProvider],
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._views = views
        self._limits = limits
        self._clock = clock
        self._next_s = 0.0
        self._angles: dict[str, deque[tuple[float, float]]] = {
            name: deque(maxlen=OBJECTS_KEPT) for name in views
        }
        self._worker: Worker[FusedResult] = Worker("drift", self._look, lambda _: None, capacity=1)

    def offer(self, result: FusedResult) -> None:
        """Show a sweep's result; it is looked at only if that is due and a limit is set."""
        if self._clock() < self._next_s or not result.detections:
            return
        if self._limits["diagnostics.drift_warn"] or self._limits["diagnostics.drift_error"]:
            self._next_s = self._clock() + PERIOD_S
            self._worker.submit(result)

    def drift(self, camera: str) -> Drift | None:
        """The camera's angle, None before enough objects were seen."""
        oldest_s = self._clock() - FORGOTTEN_S
        angles = [angle for time_s, angle in tuple(self._angles[camera]) if time_s >= oldest_s]
        return Drift(float(np.median(angles)), len(angles)) if len(angles) >= LEAST_OBJECTS else None

    def problems(self, camera: str) -> list[Problem]:
        """A warning or error if the angle is too large."""
        found = self.drift(camera)
        if found is None:
            return []
        side = "right" if found.angle_deg > 0 else "left"
        return self._limits.above(
            "drift",
            abs(found.angle_deg),
            f"boxes lie {abs(found.angle_deg):.1f} deg {side} of the lidar's objects (median of "
            f"{found.objects}): check the camera's and the lidar's mounting, transforms and time stamps",
        )

    def values(self, camera: str) -> dict[str, str]:
        """The angle, for people and programs."""
        found = self.drift(camera)
        return {"angle to lidar [deg]": f"{found.angle_deg:+.2f}"} if found else {}

    @property
    def is_idle(self) -> bool:
        """True when no sweep waits to be looked at."""
        return self._worker.is_idle

    def stop(self) -> None:
        """End the thread."""
        self._worker.stop()

    def _look(self, result: FusedResult) -> None:
        obstacles = result.lidar.points[~result.lidar.is_ground]
        for camera in result.cameras:
            try:
                view = self._views[camera.camera].view(camera, result.stamp_ns)
            except (KeyError, MessageError):
                continue  # fusion has reported it
            now_s = self._clock()
            angles = box_angles(obstacles, view, result.detections)
            self._angles[camera.camera].extend((now_s, float(angle)) for angle in angles)


def box_angles(obstacles: Float32, view: CameraView, detections: Sequence[Detection3D]) -> Float64:
    """Angles by which 2D boxes lie to the right of the lidar points of their objects, (N,) [deg].

    `obstacles` (M, 3) are the sweep's points above the ground, in the target frame. An object counts if
    this camera alone has seen it, whole and at least 5 degrees wide. All points around it are looked at, not
    only those within its 2D box, which would follow the box.
    """
    angles = []
    for detection in detections:
        if detection.cameras != (view.result.camera,):
            continue
        extent = _extent(_around(obstacles, detection), view)
        box = None if extent is None else _box_of(extent, detection.class_name, view)
        if extent is not None and box is not None:
            offset = (box[0] + box[2] - extent[0] - extent[2]) / 2
            angles.append(np.degrees(np.arctan2(offset, view.camera.K[0, 0])))
    return np.array(angles)


def _around(obstacles: Float32, detection: Detection3D) -> Float32:
    """The points in and around a 3D box."""
    cosine, sine = np.cos(detection.yaw), np.sin(detection.yaw)
    offset = obstacles - detection.center
    along = offset[:, :2] @ np.array([[cosine, -sine], [sine, cosine]])
    inside = (np.abs(along) <= detection.size[:2] / 2 + MARGIN_M).all(axis=1)
    return obstacles[inside & (offset[:, 2] <= detection.size[2] / 2 + MARGIN_M)]


def _extent(points: Float32, view: CameraView) -> Float64 | None:
    """What the points take up of the image, x1 y1 x2 y2 [pixels]; None for too few or beside the camera."""
    if len(points) < LEAST_POINTS:
        return None
    points_camera = cpu.transform_points(points, view.T_camera_target)
    if (points_camera[:, 2] < 1.0).any():
        return None
    model = view.camera
    rays = points_camera[:, :2] / points_camera[:, 2:]
    pixels = cpu.distort(rays.astype(np.float64), model.K, model.D, model.distortion_model) + 0.5
    return np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])


def _box_of(extent: Float64, class_name: str, view: CameraView) -> Float32 | None:
    """The whole, wide 2D box of this class that overlaps the extent most, None if none does enough."""
    found = view.result.detections
    names = np.array([found.class_names[class_id] for class_id in found.class_ids])
    boxes = found.boxes[names == class_name] if len(names) else found.boxes[:0]
    if not len(boxes):
        return None
    sides = np.minimum(boxes[:, 2:], extent[2:]) - np.maximum(boxes[:, :2], extent[:2])
    common = np.prod(np.maximum(sides, 0), axis=1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(extent[2:] - extent[:2])
    overlaps = common / (areas - common)
    best = int(np.argmax(overlaps))
    box = boxes[best]
    width, seen = box[2] - box[0], extent[2] - extent[0]
    is_whole = box[0] >= EDGE and box[2] <= view.camera.width - EDGE
    is_wide = width >= np.radians(LEAST_WIDTH_DEG) * view.camera.K[0, 0]
    is_alike = 0.6 < seen / width < 1.5
    return box if overlaps[best] >= LEAST_OVERLAP and is_whole and is_wide and is_alike else None
