"""One picture a frame: every camera with its results, and the bird's-eye view beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from avperception.drawing.birds_eye import BirdsEyeView, TrueBox
from avperception.drawing.overlay import FONT, Scene3D, draw_overlay
from avperception.errors import BagError
from avperception.ops import cpu
from avperception.pipeline.fusion import CameraView
from avperception.types import CameraResult, FusedResult, Image, UInt8

LANE_DISTANCE = 50.0
PNG_EFFORT = 2
"""zlib level: higher ones take several times as long for a tenth of the size."""


class PictureBook:
    """Writes pictures as `overlays/000000.png` and on; those of an earlier run are removed first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for old in folder.glob("[0-9]*.png"):
                old.unlink()
        except OSError as error:
            raise BagError(f"cannot use the folder {folder}: {error.strerror or error}") from error

    def add(
        self,
        images: Sequence[tuple[CameraResult, Image]],
        fused: FusedResult | None,
        truth: Sequence[TrueBox],
        find_view: Callable[[CameraResult], CameraView | None],
        frame: int,
    ) -> None:
        """Draw one frame; raises BagError when the file cannot be written."""
        picture = draw_frame(images, fused, truth, find_view, f"frame {frame}")
        path = self._folder / f"{frame:06d}.png"
        if not cv2.imwrite(str(path), picture, [cv2.IMWRITE_PNG_COMPRESSION, PNG_EFFORT]):
            raise BagError(f"cannot write {path}: is the disk full or the folder read-only?")
        self._count += 1


def draw_frame(
    images: Sequence[tuple[CameraResult, Image]],
    fused: FusedResult | None,
    truth: Sequence[TrueBox],
    find_view: Callable[[CameraResult], CameraView | None],
    title: str,
) -> UInt8:
    """Draw the cameras side by side and the scene from above, as one BGR picture with a caption."""
    height = 600 if len(images) <= 1 else 400
    views = [(result, find_view(result)) for result, _ in images]
    tiles = []
    for (result, image), (_, view) in zip(images, views, strict=True):
        overlay = draw_overlay(cpu.to_bgr(image), result, _scene(view, fused))
        tiles.append(_caption(_scaled(overlay, height), f"{result.camera}  {title}  {_summary(result)}"))
    tiles.append(_caption(_from_above(views, fused, truth, height), _summary_3d(fused, truth)))
    return np.concatenate(tiles, axis=1)


def _scene(view: CameraView | None, fused: FusedResult | None) -> Scene3D | None:
    if view is None or fused is None:
        return None
    points = fused.lidar.points[~fused.lidar.is_ground]
    return Scene3D(view.camera, view.T_camera_target, points, fused.detections)


def _from_above(
    views: Sequence[tuple[CameraResult, CameraView | None]],
    fused: FusedResult | None,
    truth: Sequence[TrueBox],
    height: int,
) -> UInt8:
    picture = BirdsEyeView(height, ahead=42.0, behind=8.0)
    if fused is not None:
        picture.draw_points(fused.lidar.points, fused.lidar.is_ground)
    picture.draw_camera_lanes(views, LANE_DISTANCE)
    picture.draw_truth(truth)
    if fused is not None:
        picture.draw_detections(fused.detections)
    return picture.canvas


def _scaled(picture: UInt8, height: int) -> UInt8:
    width = round(picture.shape[1] * height / picture.shape[0])
    method = cv2.INTER_AREA if height < picture.shape[0] else cv2.INTER_CUBIC
    return cv2.resize(picture, (width, height), interpolation=method)


def _caption(picture: UInt8, text: str) -> UInt8:
    bar = np.full((24, picture.shape[1], 3), (38, 34, 32), np.uint8)
    cv2.putText(bar, text, (8, 17), FONT, 0.45, (225, 225, 225), 1, cv2.LINE_AA)
    return np.concatenate([bar, picture])


def _summary(result: CameraResult) -> str:
    parts = [f"{len(result.detections)} objects"]
    if result.segmentation is not None:
        parts.append(f"{len(result.lanes)} lane lines")
    return "  ".join(parts)


def _summary_3d(fused: FusedResult | None, truth: Sequence[TrueBox]) -> str:
    if fused is None:
        return "from above (no lidar)"
    white = "  (white: truth)" if truth else ""
    return f"from above  {len(fused.detections)} in 3D{white}"
