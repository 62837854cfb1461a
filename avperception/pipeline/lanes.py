"""Lane lines of the image laid onto the ground."""

from __future__ import annotations

import numpy as np

from avperception.ops.cpu import undistort
from avperception.types import CameraModel, Float32, Float64


def lane_on_ground(
    line: Float32, camera: CameraModel, T_target_camera: Float64, max_distance: float
) -> Float64:
    """Lay a lane line (M, 2) in pixels onto the ground plane z = 0 of the target frame, as (K, 3) metres.

    The rays of the pixels are cut with the plane; what lies above the horizon or farther from the
    camera than `max_distance` [m] is left out. Exact on flat ground only.
    """
    normalised = undistort(line, camera.K, camera.D, camera.distortion_model)
    rays = np.concatenate([normalised, np.ones((len(normalised), 1))], axis=1) @ T_target_camera[:3, :3].T
    origin = T_target_camera[:3, 3]
    down = rays[:, 2] < -1e-6
    distance = -origin[2] / rays[down, 2]
    points = origin + rays[down] * distance[:, None]
    near = np.linalg.norm(points[:, :2] - origin[:2], axis=1) <= max_distance
    return np.asarray(points[(distance > 0) & near])
