"""sensor_msgs CameraInfo to CameraModel (REP-104)."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import CameraInfo

from avperception.errors import MessageError
from avperception.types import CameraModel, Float64

_COEFFICIENTS = {"plumb_bob": (0, 4, 5), "rational_polynomial": (0, 8, 12, 14), "equidistant": (0, 4)}


def camera_model_from_message(message: CameraInfo, is_rectified: bool = False) -> CameraModel:
    """Read the calibration of the image as it is delivered: binning and region of interest are applied.

    K is given for the full resolution; the region of interest shifts the principal point, binning
    divides the pixels. A rectified image is a pinhole camera's whose K is the left of P; its frame is taken
    to be the camera's own, so P's last column, the way to the other camera of a pair, is left out.
    Raises MessageError: `uncalibrated`, `unknown_distortion_model`, `bad_camera_info`.
    """
    K, D = _intrinsics(message, is_rectified)
    model = "plumb_bob" if is_rectified else message.distortion_model or "plumb_bob"
    if model not in _COEFFICIENTS:
        raise MessageError(
            "unknown_distortion_model", f"distortion_model {model!r} is not one of {', '.join(_COEFFICIENTS)}"
        )
    if len(D) not in _COEFFICIENTS[model]:
        raise MessageError("bad_camera_info", f"{model} with {len(D)} coefficients is not defined")
    if not (np.isfinite(K).all() and np.isfinite(D).all() and K[0, 0] > 0 and K[1, 1] > 0):
        raise MessageError("bad_camera_info", "K and D must be finite with positive focal lengths")
    if message.width == 0 or message.height == 0:
        raise MessageError("bad_camera_info", f"the image size is {message.width}x{message.height}")
    roi = message.roi
    width, height = roi.width or message.width, roi.height or message.height
    binning_x, binning_y = max(1, message.binning_x), max(1, message.binning_y)
    K[:2, 2] -= (roi.x_offset, roi.y_offset)
    # Pixel centres are at whole numbers, so a binned pixel's centre lies between those of its parts.
    K[0, 2] = (K[0, 2] + 0.5) / binning_x - 0.5
    K[1, 2] = (K[1, 2] + 0.5) / binning_y - 0.5
    K[0, :2] /= binning_x
    K[1, 1] /= binning_y
    if width < binning_x or height < binning_y:
        raise MessageError(
            "bad_camera_info", f"binning {binning_x}x{binning_y} leaves nothing of {width}x{height} pixels"
        )
    return CameraModel(width // binning_x, height // binning_y, K, D, model, message.header.frame_id)


def _intrinsics(message: CameraInfo, is_rectified: bool) -> tuple[Float64, Float64]:
    """Give K (3, 3) and D of the image at full resolution."""
    P = np.array(message.p, dtype=np.float64).reshape(3, 4)
    K = P[:, :3].copy() if is_rectified else np.array(message.k, dtype=np.float64).reshape(3, 3)
    if K[0, 0] == 0.0:
        name = "P" if is_rectified else "K"
        raise MessageError("uncalibrated", f"camera_info has {name}[0] = 0: the camera is not calibrated")
    return K, np.array([] if is_rectified else message.d, dtype=np.float64)
