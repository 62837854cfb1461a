"""What the cameras see of a sweep: the points in their 2D boxes, and those beside the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from avperception.ops import cpu
from avperception.types import CameraDetections, CameraModel, Float32, Float64, Int32, LidarResult

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class CameraView:
    """What one camera found, with its calibration and its place at that moment."""

    result: CameraDetections
    camera: CameraModel
    T_camera_target: Float64


@dataclass(frozen=True)
class PointLists:
    """Points of a sweep in lists, one behind the other: list i is from `offsets[i]` to `offsets[i + 1]`.

    Its `rows` (N,), rising in each list, with what LidarResult says of them: `positions` (N, 3) in the
    target frame, `ground` (N,) the height of the ground below [m].
    """

    rows: Rows
    positions: Float32
    ground: Float32
    offsets: Int32


@dataclass(frozen=True)
class BoxPoints(PointLists):
    """The points in 2D boxes, a list a box, with `pixels` (N, 2), `distances` and `depths` (N,) [m].

    Those are of the box's own camera.
    """

    pixels: Float32
    distances: Float32
    depths: Float32


@dataclass(frozen=True)
class Surroundings:
    """A circle on the ground for the camera at `view`: `middle` (2,) in the target frame, `radius` [m]."""

    view: int
    middle: Float32
    radius: float


class HostViewPoints:
    """The obstacles of a sweep, its points that are no ground, as some cameras see them, on the host."""

    def __init__(self, lidar: LidarResult, views: Sequence[CameraView]) -> None:
        self._lidar = lidar
        self._views = views
        self._obstacles = np.flatnonzero(~lidar.is_ground)

    def in_boxes(self) -> BoxPoints:
        """List the points in each 2D box, the boxes of one camera after those of the other."""
        lists: list[Rows] = [np.zeros(0, np.int64)]
        pixels: list[Float32] = [np.zeros((0, 2), np.float32)]
        places: list[Float32] = [np.zeros((0, 3), np.float32)]
        for view, (own_pixels, visible, points_camera) in zip(self._views, self._projected, strict=True):
            for inside in cpu.points_in_boxes(own_pixels, view.result.detections.boxes):
                lists.append(self._obstacles[visible[inside]])
                pixels.append(own_pixels[inside])
                places.append(points_camera[inside])
        points, points_camera = self._listed(lists[1:]), np.concatenate(places)
        return BoxPoints(
            **vars(points),
            pixels=np.concatenate(pixels),
            distances=np.linalg.norm(points_camera, axis=1),
            depths=points_camera[:, 2],
        )

    def hidden_around(self, asked: Sequence[Surroundings]) -> PointLists:
        """List the points in each circle that its camera does not see."""
        lists: list[Rows] = []
        for circle in asked:
            is_hidden = ~self._lidar.is_ground
            is_hidden[self._obstacles[self._projected[circle.view][1]]] = False
            region = np.array([[*circle.middle, circle.radius**2]], dtype=np.float32)
            lists += cpu.points_around(self._lidar.points, is_hidden, region)
        return self._listed(lists)

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

    def _listed(self, lists: list[Rows]) -> PointLists:
        rows = np.concatenate([np.zeros(0, np.int64), *lists])
        offsets = np.cumsum([0, *(len(rows) for rows in lists)], dtype=np.int32)
        return PointLists(rows, self._lidar.points[rows], self._lidar.ground_height[rows], offsets)


def parts(offsets: Int32) -> list[slice]:
    """Give where each list lies."""
    return [slice(begin, end) for begin, end in pairwise(offsets.tolist())]
