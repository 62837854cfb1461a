"""What every converter into a recording has in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

BASE_FRAME = "base_link"
LIDAR_FRAME = "lidar"
CAMERA_FRAME = "front_camera_optical"

IMAGE_TOPIC = "/front/image_raw"
COMPRESSED_IMAGE_TOPIC = "/front/image_raw/compressed"
CAMERA_INFO_TOPIC = "/front/camera_info"
POINTS_TOPIC = "/points"
STATIC_TRANSFORMS_TOPIC = "/tf_static"
GROUND_TRUTH_TOPIC = "/ground_truth"

START_NS = 1_317_042_000_000_000_000
"""Stamp of the first frame, 2011-09-26 13:00:00 UTC (KITTI's first day): the same in every conversion."""

Progress = Callable[[int, int], None]
"""Called with the frames done and the frames there are."""


@dataclass(frozen=True)
class ConversionSummary:
    """Frames written, and for each frame left out the reason in one line."""

    frames: int
    failures: tuple[str, ...] = ()


def no_progress(done: int, total: int) -> None:
    """A Progress that shows nothing."""
