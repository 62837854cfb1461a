"""What the cameras see of a sweep: the points in their 2D boxes, and those beside the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from avperception.ops import cpu
from avperception.types import CameraModel, CameraResult, Float32, Float64, LidarResult

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class CameraView:
    """One camera's result with its calibration and its place at that moment."""

    result: CameraResult
    camera: CameraModel
    T_camera_target: Float64


@dataclass(frozen=True)
class PointSet:
    """Some points of a sweep: its `rows` (N,), rising, with what LidarResult says of them.

    `positions` (N, 3) in the target frame, `ground` (N,) the height of the ground below [m].
    """

    rows: Rows
    positions: Float32
    ground: Float32

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: Rows) -> PointSet:
        """Give the points at some places of this set."""
        return PointSet(self.rows[places], self.positions[places], self.ground[places])


@dataclass(frozen=True)
class BoxPoints(PointSet):
    """The points in a 2D box, with `pixels` (N, 2), `distances` and `depths` (N,) from the camera [m]."""

    pixels: Float32
    distances: Float32
    depths: Float32


@dataclass(frozen=True)
class Surroundings:
    """A circle on the ground for the camera at `view`: `middle` (2,) in the target frame, `radius` [m]."""

    view: int
    middle: Float32
    radius: float


class ViewPoints(Protocol):
    """The obstacles of a sweep, its points that are no ground, as some cameras see them."""

    def in_boxes(self) -> list[list[BoxPoints]]:
        """Give, for each camera, the points in each of its 2D boxes."""
        ...

    def hidden_around(self, asked: Sequence[Surroundings]) -> list[PointSet]:
        """Give the points in each circle that the camera does not see, in the order of the cameras."""
        ...


class HostViewPoints:
    """A sweep on the host."""

    def __init__(self, lidar: LidarResult, views: Sequence[CameraView]) -> None:
        self._lidar = lidar
        self._views = views
        self._obstacles = np.flatnonzero(~lidar.is_ground)

    def in_boxes(self) -> list[list[BoxPoints]]:
        """Give, for each camera, the points in each of its 2D boxes."""
        return [
            self._in_boxes(view, *projected)
            for view, projected in zip(self._views, self._projected, strict=True)
        ]

    def hidden_around(self, asked: Sequence[Surroundings]) -> list[PointSet]:
        """Give the points in each circle that the camera does not see."""
        found = []
        for circle in asked:
            is_hidden = np.zeros(len(self._lidar.points), dtype=bool)
            is_hidden[np.delete(self._obstacles, self._projected[circle.view][1])] = True
            region = np.array([[*circle.middle, circle.radius**2]], dtype=np.float32)
            (rows,) = cpu.points_around(self._lidar.points, is_hidden, region)
            found.append(self._points(rows))
        return found

    @cached_property
    def _projected(self) -> list[tuple[Float32, Rows, Float32]]:
        """For each camera: pixels, which of the obstacles they are, and their places in its frame."""
        found = []
        points = self._lidar.points[self._obstacles]
        for view in self._views:
            model = view.camera
            points_camera = cpu.transform_points(points, view.T_camera_target)
            pixels, visible = cpu.project_points(
                points_camera, model.K, model.D, model.distortion_model, model.width, model.height
            )
            # The centre of a pixel is at a whole number for K, half a pixel further for a box.
            found.append((pixels + np.float32(0.5), visible, points_camera[visible]))
        return found

    def _in_boxes(
        self, view: CameraView, pixels: Float32, visible: Rows, points_camera: Float32
    ) -> list[BoxPoints]:
        found = []
        for inside in cpu.points_in_boxes(pixels, view.result.detections.boxes):
            seen = points_camera[inside]
            points = self._points(self._obstacles[visible[inside]])
            found.append(
                BoxPoints(
                    rows=points.rows,
                    positions=points.positions,
                    ground=points.ground,
                    pixels=pixels[inside],
                    distances=np.linalg.norm(seen, axis=1),
                    depths=seen[:, 2],
                )
            )
        return found

    def _points(self, rows: Rows) -> PointSet:
        return PointSet(rows, self._lidar.points[rows], self._lidar.ground_height[rows])
