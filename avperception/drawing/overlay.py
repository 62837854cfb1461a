"""Results drawn over the camera image they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from avperception.drawing.boxes import EDGES, box_corners
from avperception.drawing.palette import class_bgr
from avperception.ops import cpu
from avperception.types import CameraModel, CameraResult, Detection3D, Float32, Float64, UInt8

FONT = cv2.FONT_HERSHEY_SIMPLEX
MAX_DEPTH = 50.0
"""Depth [m] at which the colour scale of lidar points ends."""


@dataclass(frozen=True)
class Scene3D:
    """What lies around a camera: its calibration and place, lidar points and boxes in the target frame."""

    camera: CameraModel
    T_camera_target: Float64
    points: Float32 = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    detections: Sequence[Detection3D] = ()


def draw_overlay(image: UInt8, result: CameraResult, scene: Scene3D | None = None) -> UInt8:
    """Draw one camera's result on a copy of its BGR image (height, width, 3).

    From below to above: the class mask as a tint, lidar points coloured by depth (near is red), lane
    lines, 3D boxes as wire frames, 2D boxes with class and score.
    """
    canvas = image.copy()
    if result.segmentation is not None:
        _tint(canvas, result.segmentation, result.segmentation_classes)
    if scene is not None:
        _draw_points(canvas, scene)
    scale = max(1.0, image.shape[1] / 1000)
    for lane in result.lanes:
        points = np.round(lane * 8).astype(np.int32)[:, None]
        cv2.polylines(canvas, [points], False, (30, 220, 255), round(2 * scale), cv2.LINE_AA, shift=3)
    if scene is not None:
        for detection in scene.detections:
            _draw_wire_frame(canvas, detection, scene, scale)
    detections = result.detections
    for box, score, class_id in zip(detections.boxes, detections.scores, detections.class_ids, strict=True):
        _draw_box(canvas, box, detections.class_names[class_id], float(score), scale)
    return canvas


def draw_label(
    canvas: UInt8, text: str, x: float, y: float, color: tuple[int, int, int], scale: float
) -> None:
    """Write text on a filled bar with its lower left corner at (x, y), kept inside the picture."""
    size = 0.42 * scale
    (width, height), base = cv2.getTextSize(text, FONT, size, 1)
    left = int(np.clip(x, 0, max(0, canvas.shape[1] - width - 4)))
    bottom = int(np.clip(y, height + base + 2, canvas.shape[0]))
    cv2.rectangle(canvas, (left, bottom - height - base - 2), (left + width + 4, bottom), color, cv2.FILLED)
    dark = sum(color) > 330
    ink = (20, 20, 20) if dark else (255, 255, 255)
    cv2.putText(canvas, text, (left + 2, bottom - base), FONT, size, ink, 1, cv2.LINE_AA)


def _tint(canvas: UInt8, segmentation: UInt8, classes: tuple[str, ...]) -> None:
    """Mix the colour of each class but the background into the image."""
    table = np.zeros((256, 1, 3), np.uint8)
    weight = np.zeros(256, np.uint8)
    for class_id, name in enumerate(classes):
        if name != "background":
            table[class_id, 0] = class_bgr(name)
            weight[class_id] = 255
    tint = cv2.LUT(cv2.merge([segmentation] * 3), table)
    mask = cv2.LUT(segmentation, weight)
    mixed = cv2.addWeighted(canvas, 0.68, tint, 0.32, 0)
    cv2.copyTo(mixed, mask, canvas)


def _draw_points(canvas: UInt8, scene: Scene3D) -> None:
    model = scene.camera
    points_camera = cpu.transform_points(scene.points, scene.T_camera_target)
    pixels, rows = cpu.project_points(
        points_camera, model.K, model.D, model.distortion_model, model.width, model.height
    )
    if not len(rows):
        return
    depth = points_camera[rows, 2]
    shade = (255 * (1 - np.clip(depth / MAX_DEPTH, 0, 1))).astype(np.uint8)
    colors = cv2.applyColorMap(shade[:, None], cv2.COLORMAP_TURBO)[:, 0]
    order = np.argsort(-depth, kind="stable")
    x, y = np.round(pixels[order]).astype(np.int64).T
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        columns = np.minimum(x + dx, canvas.shape[1] - 1)
        lines = np.minimum(y + dy, canvas.shape[0] - 1)
        canvas[lines, columns] = colors[order]


def _draw_wire_frame(canvas: UInt8, detection: Detection3D, scene: Scene3D, scale: float) -> None:
    corners = box_corners(detection.center, detection.size, detection.yaw)
    camera_corners = cpu.transform_points(corners, scene.T_camera_target).astype(np.float64)
    if (camera_corners[:, 2] < 0.3).any():
        return
    model = scene.camera
    pixels = cpu.distort(
        camera_corners[:, :2] / camera_corners[:, 2:], model.K, model.D, model.distortion_model
    )
    if np.abs(pixels).max() > 1e5:
        return
    ends = np.round(pixels * 8).astype(int)
    color = class_bgr(detection.class_name)
    for start, end in EDGES:
        cv2.line(
            canvas, tuple(ends[start]), tuple(ends[end]), color, max(1, round(scale)), cv2.LINE_AA, shift=3
        )


def _draw_box(canvas: UInt8, box: Float32, class_name: str, score: float, scale: float) -> None:
    x1, y1, x2, y2 = (round(float(value)) for value in box)
    color = class_bgr(class_name)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), color, max(1, round(1.5 * scale)), cv2.LINE_AA)
    draw_label(canvas, f"{class_name} {score:.2f}", x1, y1, color, scale)
