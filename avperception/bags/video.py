"""A video file into a recording: images, camera info and a nominal mount of the camera."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from avperception.bags import conversion, messages
from avperception.bags.conversion import BASE_FRAME, CAMERA_FRAME, ConversionSummary, Progress
from avperception.bags.messages import Transform
from avperception.bags.writer import BagWriter
from avperception.errors import BagError, ConfigurationError
from avperception.types import CameraModel, Float64

FOV_DEGREES = 60.0
CAMERA_HEIGHT_M = 1.5
JPEG_QUALITY = 95
MAX_FPS = 1000.0


def convert_video(
    source: Path,
    writer: BagWriter,
    *,
    fov_degrees: float = FOV_DEGREES,
    camera_height_m: float = CAMERA_HEIGHT_M,
    camera_pitch_degrees: float = 0.0,
    compressed: bool = False,
    progress: Progress = conversion.no_progress,
) -> ConversionSummary:
    """Write the frames of `source`, stamped by its frame rate, as bgr8 or (`compressed`) as JPEG.

    The camera is a pinhole with the horizontal field of view `fov_degrees`, mounted above base_link, which
    is on the ground, looking ahead and `camera_pitch_degrees` down. A video does not tell any of these: what
    is measured in metres is as good as the numbers given here.

    Raises ConfigurationError for numbers that cannot be, BagError if `source` is no video or has no frame;
    the summary names a video that ends before its announced length.
    """
    T_base_camera = nominal_mount(camera_height_m, camera_pitch_degrees)
    capture, fps, announced = _open(source)
    try:
        ok, pixels = capture.read()
        if not ok:
            raise BagError(f"{source} has no frame that can be decoded: play it to see if it is damaged")
        height, width = pixels.shape[:2]
        camera = pinhole(width, height, fov_degrees)
        _declare(writer, T_base_camera, compressed)
        count = 0
        while ok:
            stamp_ns = conversion.START_NS + round(count * 1e9 / fps)
            _write_frame(writer, stamp_ns, pixels, camera, compressed)
            count += 1
            progress(count, max(announced, count))
            ok, pixels = capture.read()
    finally:
        capture.release()
    return ConversionSummary(count, _missing_end(source, count, announced))


def pinhole(width: int, height: int, fov_degrees: float) -> CameraModel:
    """An undistorted camera whose left and right image edges are `fov_degrees` apart.

    Raises ConfigurationError unless 0 < fov_degrees < 180.
    """
    if not 0.0 < fov_degrees < 180.0:
        raise ConfigurationError(f"a field of view of {fov_degrees:g} degrees cannot be: give 0 < fov < 180")
    focal = width / 2 / math.tan(math.radians(fov_degrees) / 2)
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return CameraModel(width, height, K, np.zeros(5), "plumb_bob", CAMERA_FRAME)


def nominal_mount(height_m: float, pitch_degrees: float = 0.0) -> Float64:
    """T_base_camera (4, 4) of an optical frame above base_link's origin, looking ahead and `pitch` down.

    Raises ConfigurationError for a camera that is not above the ground or does not look ahead.
    """
    if not 0.0 < height_m < 100.0:
        raise ConfigurationError(f"a camera {height_m:g} m above the ground cannot be: give 0 < height < 100")
    if not -90.0 < pitch_degrees < 90.0:
        raise ConfigurationError(f"a pitch of {pitch_degrees:g} degrees cannot be: give -90 < pitch < 90")
    T = np.eye(4)
    # columns: the optical axes right, down, forward in base_link's forward, left, up (REP-103)
    R_level = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    T[:3, :3] = Rotation.from_euler("y", pitch_degrees, degrees=True).as_matrix() @ R_level
    T[2, 3] = height_m
    return T


def _open(source: Path) -> tuple[cv2.VideoCapture, float, int]:
    """The capture, its frames per second, and how many frames the file announces (0: it does not)."""
    if not source.is_file():
        raise BagError(f"{source} is not a file: give a video such as drive.mp4")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # its complaints would stand above our one line
    capture = cv2.VideoCapture(str(source))
    if not capture.isOpened():
        raise BagError(f"{source} is not a video that OpenCV can read: convert it to H.264 in MP4")
    fps, announced = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
    if not 0.0 < fps <= MAX_FPS:
        capture.release()
        raise BagError(f"{source} names a frame rate of {fps:g} Hz, so it has no times: convert it to MP4")
    return capture, fps, max(int(announced), 0)


def _declare(writer: BagWriter, T_base_camera: Float64, compressed: bool) -> None:
    writer.add_topic(conversion.STATIC_TRANSFORMS_TOPIC, messages.TRANSFORMS, latched=True)
    writer.add_topic(conversion.CAMERA_INFO_TOPIC, messages.CAMERA_INFO)
    if compressed:
        writer.add_topic(conversion.COMPRESSED_IMAGE_TOPIC, messages.COMPRESSED_IMAGE)
    else:
        writer.add_topic(conversion.IMAGE_TOPIC, messages.IMAGE)
    mount = messages.transforms(conversion.START_NS, [Transform(BASE_FRAME, CAMERA_FRAME, T_base_camera)])
    writer.write(conversion.STATIC_TRANSFORMS_TOPIC, conversion.START_NS, mount)


def _write_frame(
    writer: BagWriter, stamp_ns: int, pixels: Any, camera: CameraModel, compressed: bool
) -> None:
    writer.write(conversion.CAMERA_INFO_TOPIC, stamp_ns, messages.camera_info(stamp_ns, camera))
    if not compressed:
        message = messages.image(stamp_ns, CAMERA_FRAME, pixels, "bgr8")
        writer.write(conversion.IMAGE_TOPIC, stamp_ns, message)
        return
    _, jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    message = messages.compressed_image(stamp_ns, CAMERA_FRAME, jpeg, "bgr8; jpeg compressed bgr8")
    writer.write(conversion.COMPRESSED_IMAGE_TOPIC, stamp_ns, message)


def _missing_end(source: Path, count: int, announced: int) -> tuple[str, ...]:
    if count >= 0.99 * announced - 1:  # some containers announce an estimate
        return ()
    return (f"{source.name} announces {announced} frames, only {count} could be decoded: it is cut off",)
