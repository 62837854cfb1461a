"""The scene from above: points, boxes, lane lines and what is known to be true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avperception.drawing.boxes import box_corners
from avperception.drawing.overlay import FONT, draw_label
from avperception.drawing.palette import class_bgr
from avperception.pipeline.fusion import CameraView
from avperception.pipeline.lanes import lane_on_ground
from avperception.types import Bool, CameraResult, Detection3D, Float32, Float64, UInt8

Pixels = NDArray[np.int64]

_BACKGROUND = (28, 24, 22)
_GRID = (64, 58, 54)
_TRUTH = (240, 240, 240)


@dataclass(frozen=True)
class TrueBox:
    """A box known to be true, in the target frame: `center` (3,), `size` (3,), `yaw`."""

    class_name: str
    center: Float64
    size: Float64
    yaw: float


class BirdsEyeView:
    """A square picture of the ground, x of the target frame up, y to the left; distances in metres."""

    def __init__(self, pixels: int, ahead: float = 50.0, behind: float = 10.0) -> None:
        self._scale = pixels / (ahead + behind)
        self._origin = np.array([pixels / 2, ahead * self._scale])
        self.canvas: UInt8 = np.full((pixels, pixels, 3), _BACKGROUND, np.uint8)
        self._draw_rings(ahead)

    def draw_points(self, points: Float32, is_ground: Bool) -> None:
        """Draw points (N, 3): ground in grey, the rest coloured by height from 0 to 3 m."""
        if not len(points):
            return
        columns, rows = self._pixels(points).T
        inside = (columns >= 0) & (rows >= 0) & (columns < len(self.canvas)) & (rows < len(self.canvas))
        shade = (np.clip(points[:, 2] / 3.0, 0, 1) * 200 + 40).astype(np.uint8)
        colors = cv2.applyColorMap(shade[:, None], cv2.COLORMAP_VIRIDIS).reshape(-1, 3)
        colors[is_ground] = (92, 84, 80)
        order = np.flatnonzero(inside)
        order = order[np.argsort(points[order, 2], kind="stable")]
        self.canvas[rows[order], columns[order]] = colors[order]

    def draw_lane(self, lane: Float64) -> None:
        """Draw a lane line (K, 3)."""
        cv2.polylines(
            self.canvas, [self._pixels(lane)[:, None].astype(np.int32)], False, (30, 220, 255), 2, cv2.LINE_AA
        )

    def draw_camera_lanes(
        self, views: Sequence[tuple[CameraResult, CameraView | None]], max_distance: float
    ) -> None:
        """Lay the lane lines of the cameras whose view is known on the ground, up to a distance [m]."""
        for result, view in views:
            if view is None:
                continue
            T_target_camera = np.linalg.inv(view.T_camera_target).astype(np.float64)
            for lane in result.lanes:
                on_ground = lane_on_ground(lane, view.camera, T_target_camera, max_distance)
                if len(on_ground) >= 2:
                    self.draw_lane(on_ground)

    def draw_detections(self, detections: Sequence[Detection3D]) -> None:
        """Draw boxes with a line to the front, their track and class."""
        for detection in detections:
            color = class_bgr(detection.class_name)
            corners = self._outline(detection.center, detection.size, detection.yaw, color, 2)
            front = corners[:2].mean(axis=0).round().astype(int)
            middle = self._pixels(detection.center[None])[0]
            cv2.line(self.canvas, tuple(map(int, middle)), tuple(map(int, front)), color, 1, cv2.LINE_AA)
            text = detection.class_name + (f" {detection.track_id}" if detection.track_id else "")
            draw_label(self.canvas, text, float(corners[:, 0].max()) + 4, float(middle[1]), color, 0.9)

    def draw_truth(self, boxes: Sequence[TrueBox]) -> None:
        """Draw true boxes in white."""
        for box in boxes:
            self._outline(box.center, box.size, box.yaw, _TRUTH, 1)

    def _outline(
        self, center: Float64, size: Float64, yaw: float, color: tuple[int, int, int], width: int
    ) -> Pixels:
        corners = self._pixels(box_corners(center, size, yaw)[:4])
        cv2.polylines(self.canvas, [corners[:, None].astype(np.int32)], True, color, width, cv2.LINE_AA)
        return corners

    def _pixels(self, points: NDArray[Any]) -> Pixels:
        offset = np.stack([-points[:, 1], -points[:, 0]], axis=1) * self._scale
        return np.round(np.clip(offset + self._origin, -1e5, 1e5)).astype(np.int64)

    def _draw_rings(self, ahead: float) -> None:
        centre = tuple(map(int, self._origin))
        for distance in range(10, int(ahead) + 1, 10):
            cv2.circle(self.canvas, centre, round(distance * self._scale), _GRID, 1, cv2.LINE_AA)
            place = (centre[0] + 3, centre[1] - round(distance * self._scale) - 3)
            cv2.putText(self.canvas, f"{distance} m", place, FONT, 0.35, (150, 145, 140), 1, cv2.LINE_AA)
        half_width, half_length = round(0.9 * self._scale), round(2.2 * self._scale)
        low = (centre[0] - half_width, centre[1] - half_length)
        high = (centre[0] + half_width, centre[1] + half_length)
        cv2.rectangle(self.canvas, low, high, (150, 145, 140), 1, cv2.LINE_AA)
