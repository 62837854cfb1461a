"""A recording as a short film for people: the front camera above, the scene seen from above below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avperception.drawing.birds_eye import BirdsEyeView, TrueBox
from avperception.drawing.overlay import FONT, draw_overlay
from avperception.errors import BagError
from avperception.ops import cpu
from avperception.pipeline.fusion import CameraView
from avperception.types import CameraResult, Detection3D, FusedResult, Image, UInt8

AHEAD_M = 42.0
BEHIND_M = 8.0
LANE_DISTANCE_M = 40.0
SHORTEST_FILM_MS = 3000
LONGEST_PICTURE_MS = 1000

_WEBP = {"quality": 72, "method": 1}
"""Lossy, and quick to make: a picture in some 15 ms."""

_CAPTION_HEIGHT = 24


@dataclass(frozen=True)
class _Picture:
    """`pixels` (height, width, 3) RGB at a moment."""

    stamp_ns: int
    pixels: UInt8


class BirdsEyeAnimation:
    """Collects pictures of a recording and writes them as one animated WebP, `width` pixels wide."""

    def __init__(self, width: int = 480) -> None:
        self._width = width
        self._pictures: list[_Picture] = []

    def __len__(self) -> int:
        return len(self._pictures)

    def add(
        self,
        images: Sequence[tuple[CameraResult, Image]],
        fused: FusedResult | None,
        truth: Sequence[TrueBox],
        find_view: Callable[[CameraResult], CameraView | None],
        stamp_ns: int,
        caption: str,
    ) -> None:
        """Draw one moment: the first camera's overlay, and points, lanes, truth and boxes from above."""
        parts = [_front(image, result, self._width) for result, image in images[:1]]
        views = [(result, find_view(result)) for result, _ in images]
        parts += [_caption(caption, self._width), draw_from_above(views, fused, truth, self._width)]
        self._pictures.append(_Picture(stamp_ns, cv2.cvtColor(np.concatenate(parts), cv2.COLOR_BGR2RGB)))

    def save(self, path: Path) -> bool:
        """Write what was added, in the recording's own time; False, and no file, if that is nothing.

        A recording of few pictures is slowed down to be seen at all. The file appears whole or not;
        raises BagError if it cannot be written.
        """
        if not self._pictures:
            return False
        # Pillow comes with Matplotlib, and takes a moment to import.
        from PIL import Image as PillowImage

        first, *rest = (PillowImage.fromarray(pixels) for pixels in self._same_size())
        options: dict[str, Any] = {**_WEBP, "duration": self.durations_ms(), "loop": 0}
        temporary = path.with_name(f".{path.name}.part")
        try:
            first.save(temporary, "WEBP", save_all=True, append_images=rest, **options)
            temporary.replace(path)
        except OSError as error:
            raise BagError(f"cannot write {path}: {error.strerror or error}") from error
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def durations_ms(self) -> list[int]:
        """How long each picture is shown: until the next one's stamp, the last as long as those before."""
        stamps = [picture.stamp_ns for picture in self._pictures]
        gaps = [(after - before) / 1e6 for before, after in pairwise(stamps)]
        gaps.append(float(np.median(gaps)) if gaps else SHORTEST_FILM_MS)
        slower = max(1.0, SHORTEST_FILM_MS / max(sum(gaps), 1.0))
        return [round(min(max(gap * slower, 10.0), LONGEST_PICTURE_MS)) for gap in gaps]

    def _same_size(self) -> list[UInt8]:
        """All pictures at the largest one's height: a camera may have been missing in some."""
        height = max(picture.pixels.shape[0] for picture in self._pictures)
        return [np.pad(p.pixels, ((height - p.pixels.shape[0], 0), (0, 0), (0, 0))) for p in self._pictures]


def draw_from_above(
    views: Sequence[tuple[CameraResult, CameraView | None]],
    fused: FusedResult | None,
    truth: Sequence[TrueBox],
    pixels: int,
) -> UInt8:
    """Draw the scene around the vehicle as a square BGR picture, ahead is up.

    Lane lines are laid on the ground for the cameras whose view is known.
    """
    picture = BirdsEyeView(pixels, ahead=AHEAD_M, behind=BEHIND_M)
    if fused is not None:
        picture.draw_points(fused.lidar.points, fused.lidar.is_ground)
    picture.draw_camera_lanes(views, LANE_DISTANCE_M)
    picture.draw_truth(truth)
    if fused is not None:
        picture.draw_detections([d for d in fused.detections if _is_shown(d)])
    return picture.canvas


def _is_shown(detection: Detection3D) -> bool:
    """Tell whether the picture holds the centre: the label of a box beyond would crowd its border."""
    half_width = (AHEAD_M + BEHIND_M) / 2
    x, y = detection.center[:2]
    return bool(-BEHIND_M <= x <= AHEAD_M and abs(y) <= half_width)


def _front(image: Image, result: CameraResult, width: int) -> UInt8:
    overlay = draw_overlay(cpu.to_bgr(image), result)
    height = max(1, round(overlay.shape[0] * width / overlay.shape[1]))
    return cv2.resize(overlay, (width, height), interpolation=cv2.INTER_AREA)


def _caption(text: str, width: int) -> UInt8:
    bar = np.full((_CAPTION_HEIGHT, width, 3), (38, 34, 32), np.uint8)
    cv2.putText(bar, text, (8, 17), FONT, 0.45, (225, 225, 225), 1, cv2.LINE_AA)
    return bar
