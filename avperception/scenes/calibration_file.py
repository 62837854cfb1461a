"""Reads a camera's calibration as ROS's camera_calibration writes it, so that a scene can have any camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from avperception.errors import ConfigurationError
from avperception.scenes.rig import optical_frame
from avperception.types import CameraModel, Float64


def read_camera(path: Path, name: str) -> CameraModel:
    """The camera of a YAML file with image_width, image_height, camera_matrix, distortion_model and
    distortion_coefficients; its frame is that of the rig's camera `name`.

    Raises ConfigurationError, naming file and key, for a file that cannot be read or lacks one of these.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"calibration {path} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"calibration {path} is not valid YAML: {reason}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"calibration {path} is not a mapping of keys to values, as ROS writes it")
    return CameraModel(
        width=_whole(path, content, "image_width"),
        height=_whole(path, content, "image_height"),
        K=_matrix(path, content, "camera_matrix", 9).reshape(3, 3),
        D=_matrix(path, content, "distortion_coefficients", None),
        distortion_model=str(_take(path, content, "distortion_model")),
        frame_id=optical_frame(name),
    )


def _take(path: Path, content: dict[Any, Any], key: str) -> Any:
    if key not in content:
        raise ConfigurationError(f"calibration {path}: key `{key}` is missing")
    return content[key]


def _whole(path: Path, content: dict[Any, Any], key: str) -> int:
    value = _take(path, content, key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigurationError(
            f"calibration {path}: key `{key}` is {value!r}: it must be a whole number of pixels"
        )
    return value


def _matrix(path: Path, content: dict[Any, Any], key: str, count: int | None) -> Float64:
    value = _take(path, content, key)
    data = value.get("data") if isinstance(value, dict) else value
    try:
        numbers = np.asarray(data, np.float64).reshape(-1)
    except (TypeError, ValueError):
        numbers = np.full(0, np.nan)
        count = count or 1
    if count is not None and len(numbers) != count:
        raise ConfigurationError(
            f"calibration {path}: key `{key}` must have `data` with {count} numbers or more"
        )
    return numbers
