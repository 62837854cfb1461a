"""Whether a camera and the lidar still look the same way: the angle between objects and their 2D boxes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from avperception.errors import MessageError
from avperception.nodes.diagnostics import Problem
from avperception.nodes.health.limits import Limits
from avperception.nodes.worker import Worker
from avperception.ops import cpu
from avperception.pipeline.fusion import CameraView
from avperception.types import CameraDetections, Detection3D, Float32, Float64, FusedResult

PERIOD_S = 0.5
"""Sweeps are looked at this far apart, on a thread of their own."""

LONGEST_GAP_S = 3.0
"""Between two looks at an object that are this far apart it may have gone anywhere."""

OBJECTS_KEPT, LEAST_OBJECTS, FORGOTTEN_S = 100, 15, 600.0
"""The median is of the last objects of a camera, told from the least on, and no older than that."""

LOOKS_KEPT = 60
"""An object's angle is the median of its last looks."""

MOST_RATE_DEG = 5.0
"""An object that passes faster than this [deg/s] lies elsewhere for the beam that met it than in the image:
a lidar turns for up to 0.1 s, and what it meets at the side is not of the sweep's stamp."""

SAME_PLACE_M, LOST_S = 2.0, 30.0
"""A track that begins this near to where another was last seen, not longer ago, is the same object."""

CONFIDENCE_Z = 2.58
"""Standard deviations of the count of angles on one side of the true median: 99 % lie within."""

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
    """By how much a camera's boxes lie to the right of the lidar's objects: the median of so many [deg].

    It `is_certain` when chance does not put so many of them on one side.
    """

    angle_deg: float
    objects: int
    is_certain: bool


@dataclass(frozen=True)
class Sighting:
    """An object in one image: its track, place in the target frame (2,) [m], and two angles [deg].

    `bearing_deg` is where the lidar has it, to the right of the camera's axis; `angle_deg` how much farther
    to the right its box lies.
    """

    track_id: int
    place: Float64
    bearing_deg: float
    angle_deg: float


@dataclass
class _Object:
    """All that one camera has seen of one object, last at a stamp and by the watch's clock."""

    last: Sighting
    stamp_ns: int
    time_s: float
    angles_deg: deque[float] = field(default_factory=lambda: deque(maxlen=LOOKS_KEPT))

    def see(self, sighting: Sighting, stamp_ns: int, time_s: float) -> None:
        """Take a further look at it: its angle counts while it hardly moves across the image."""
        seconds = (stamp_ns - self.stamp_ns) / 1e9
        turned_deg = abs(sighting.bearing_deg - self.last.bearing_deg)
        is_followed = sighting.track_id == self.last.track_id and 0 < seconds <= LONGEST_GAP_S
        if is_followed and turned_deg <= MOST_RATE_DEG * seconds:
            self.angles_deg.append(sighting.angle_deg)
        self.last, self.stamp_ns, self.time_s = sighting, stamp_ns, time_s


class DriftWatch:
    """Keeps, for each camera, by which angle its boxes lie beside the lidar's objects.

    Without drift the angles of many objects cancel: a box is as often too far left as too far right. One
    that stays means that camera or lidar were turned, or that the sensors' stamps are of different times.
    Each object counts once, however long it is seen: its looks all err alike.
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
        self._newest_ns = 0
        self._lap = 0
        self._lock = threading.Lock()
        self._objects: dict[str, deque[_Object]] = {}
        self._forget()
        self._worker: Worker[tuple[int, FusedResult]] = Worker(
            "drift", self._look, lambda _: None, capacity=1
        )

    def offer(self, result: FusedResult) -> None:
        """Show a sweep's result; it is looked at only if that is due and a limit is set."""
        if result.stamp_ns < self._newest_ns:
            self._forget()  # the same objects come again, and the tracks' numbers with them
        self._newest_ns = result.stamp_ns
        if self._clock() < self._next_s or not result.detections:
            return
        if self._limits["diagnostics.drift_warn"] or self._limits["diagnostics.drift_error"]:
            self._next_s = self._clock() + PERIOD_S
            self._worker.submit((self._lap, result))

    def drift(self, camera: str) -> Drift | None:
        """The camera's angle, None before enough objects were seen."""
        angles = self._angles(camera)
        return median_of(np.array(angles)) if len(angles) >= LEAST_OBJECTS else None

    def problems(self, camera: str) -> list[Problem]:
        """A warning or error if the angle is too large, and not by chance."""
        found = self.drift(camera)
        if found is None or not found.is_certain:
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
        counted = {"objects compared with lidar": str(len(self._angles(camera)))}
        return {"angle to lidar [deg]": f"{found.angle_deg:+.2f}", **counted} if found else counted

    @property
    def is_idle(self) -> bool:
        """True when no sweep waits to be looked at."""
        return self._worker.is_idle

    def stop(self) -> None:
        """End the thread."""
        self._worker.stop()

    def _forget(self) -> None:
        with self._lock:
            self._lap += 1
            self._objects = {name: deque(maxlen=OBJECTS_KEPT) for name in self._views}

    def _angles(self, camera: str) -> list[float]:
        """One angle for each object that was seen well, and lately [deg]."""
        oldest_s = self._clock() - FORGOTTEN_S
        with self._lock:
            seen = [entry for entry in self._objects[camera] if entry.angles_deg and entry.time_s >= oldest_s]
            return [float(np.median(entry.angles_deg)) for entry in seen]

    def _look(self, due: tuple[int, FusedResult]) -> None:
        lap, result = due
        obstacles = result.lidar.points[~result.lidar.is_ground]
        for camera in result.cameras:
            try:
                view = self._views[camera.camera].view(camera, result.stamp_ns)
            except (KeyError, MessageError):
                continue  # fusion has reported it
            sightings = find_sightings(obstacles, view, result.detections)
            with self._lock:
                if lap == self._lap:
                    self._add(self._objects[camera.camera], sightings, result.stamp_ns)

    def _add(self, objects: deque[_Object], sightings: Sequence[Sighting], stamp_ns: int) -> None:
        now_s = self._clock()
        for sighting in sightings:
            known = [entry for entry in objects if entry.last.track_id == sighting.track_id] or [
                entry
                for entry in objects
                if 0 < stamp_ns - entry.stamp_ns < LOST_S * 1e9
                and np.linalg.norm(entry.last.place - sighting.place) < SAME_PLACE_M
            ]
            if known:
                known[-1].see(sighting, stamp_ns, now_s)
            else:
                objects.append(_Object(sighting, stamp_ns, now_s))


def median_of(angles_deg: Float64) -> Drift:
    """Give the median of (N,) angles of as many objects, N at least 10.

    It is certain when its 99 % interval by order statistics leaves out 0 (Conover, Practical Nonparametric
    Statistics, 3.2).
    """
    ordered = np.sort(angles_deg)
    outside = int((len(ordered) - CONFIDENCE_Z * np.sqrt(len(ordered))) / 2)
    is_certain = bool(ordered[outside] > 0 or ordered[-1 - outside] < 0)
    return Drift(float(np.median(ordered)), len(ordered), is_certain)


def find_sightings(obstacles: Float32, view: CameraView, detections: Sequence[Detection3D]) -> list[Sighting]:
    """Compare 2D boxes with the lidar points of their objects.

    `obstacles` (M, 3) are the sweep's points above the ground, in the target frame. An object counts if
    this camera alone has seen it, whole and at least 5 degrees wide. All points around it are looked at, not
    only those within its 2D box, which would follow the box.
    """
    found = []
    for detection in detections:
        if detection.cameras != (view.result.camera,):
            continue
        extent = _extent(_around(obstacles, detection), view)
        box = None if extent is None else _box_of(extent, detection.class_name, view)
        if extent is not None and box is not None:
            K = view.camera.K
            middle = (extent[0] + extent[2]) / 2
            bearing, angle = np.degrees(
                np.arctan2([middle - K[0, 2], (box[0] + box[2]) / 2 - middle], K[0, 0])
            )
            found.append(Sighting(detection.track_id, detection.center[:2], float(bearing), float(angle)))
    return found


def _around(obstacles: Float32, detection: Detection3D) -> Float32:
    """The points in and around a 3D box."""
    reach = float(np.linalg.norm(detection.size[:2] / 2 + MARGIN_M))
    x, y = detection.center[:2].astype(np.float32)
    # One axis after the other: most of a sweep lies elsewhere.
    obstacles = obstacles[np.abs(obstacles[:, 0] - x) <= reach]
    obstacles = obstacles[np.abs(obstacles[:, 1] - y) <= reach]
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
