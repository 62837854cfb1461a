"""Camera lenses: points to pixels, on the GPU."""

from __future__ import annotations

from functools import lru_cache

import cupy as cp
import numpy as np
from numpy.typing import NDArray

from avperception.ops import cpu
from avperception.ops.gpu.module import blocks, launch
from avperception.types import Array, Float64

BLOCK = 256

LENS_VALUES = 42
"""Values of a camera in the kernels, float64: fx fy cx cy skew, 12 coefficients, tilt, limits, model, T."""

_PINHOLE, _POLYNOMIAL, _EQUIDISTANT = 0.0, 1.0, 2.0
_COEFFICIENTS = 12


def project_points(
    points_camera: Array, K: Float64, D: Float64, distortion_model: str, width: int, height: int
) -> Array:
    """Project points (N, 3) of an optical frame to pixels (N, 2), as `ops.cpu.project_points`.

    A point outside the image gets NaN.
    """
    pixels = cp.empty((len(points_camera), 2), np.float32)
    if len(points_camera):
        lens = cp.asarray(pack_lens(K, D, distortion_model, width, height, np.eye(4)))
        launch(
            "lenses", "project_points", (blocks(len(points_camera), BLOCK),), (BLOCK,),
            points_camera, len(points_camera), lens, pixels,
        )  # fmt: skip
    return pixels


def sweep_addresses(points: Array, is_ground: Array, ground_height: Array) -> NDArray[np.uint64]:
    """Where a sweep's arrays (N, 3), (N,) and (N,) are in GPU memory, for the operations that take one."""
    return np.array([array.data.ptr for array in (points, is_ground, ground_height)], dtype=np.uint64)


def project_obstacles(sweep: Array, count: int, lenses: Array, first_regions: Array) -> Array:
    """Project the points of a sweep that are no ground into all cameras of packed `lenses` (C, 42).

    The pixels (C, count, 2) count as 2D boxes do, from the edge of the image; NaN for all that is not seen.
    A camera without regions, by `first_regions` (C + 1,), is left out.
    """
    pixels = cp.empty((len(lenses), count, 2), np.float32)
    launch(
        "lenses", "project_obstacles", (blocks(count, BLOCK), len(lenses)), (BLOCK,),
        sweep, count, lenses, first_regions, pixels,
    )  # fmt: skip
    return pixels


def pack_lens(
    K: Float64,
    D: Float64,
    distortion_model: str,
    width: int,
    height: int,
    T_camera_points: Float64,
) -> Float64:
    """Pack a camera and the transform of points to it for the kernels (42,)."""
    lens = np.zeros(LENS_VALUES)
    lens[:5] = K[0, 0], K[1, 1], K[0, 2], K[1, 2], K[0, 1]
    known = D[:4] if distortion_model == "equidistant" else D[:_COEFFICIENTS]
    lens[5 : 5 + len(known)] = known
    lens[17:26] = _tilt(*D[_COEFFICIENTS:14]).ravel() if len(D) == 14 else np.eye(3).ravel()
    limit = cpu.visible_radius(K, D, distortion_model, width, height)
    lens[26:30] = limit, width, height, _model(D, distortion_model)
    return place_lens(lens, T_camera_points)


def place_lens(lens: Float64, T_camera_points: Float64) -> Float64:
    """Give packed cameras (..., 42) with other transforms of points to them (..., 4, 4)."""
    placed = lens.copy()
    placed[..., 30:] = T_camera_points[..., :3, :].reshape(*lens.shape[:-1], 12)
    return placed


def _model(D: Float64, distortion_model: str) -> float:
    if cpu.is_pinhole(D, distortion_model):
        return _PINHOLE
    return _EQUIDISTANT if distortion_model == "equidistant" else _POLYNOMIAL


@lru_cache(maxsize=64)
def _tilt(tau_x: float, tau_y: float) -> NDArray[np.float64]:
    """Homography of a sensor tilted about x and y [rad] against the lens (OpenCV's calib3d documentation)."""
    (sin_x, cos_x), (sin_y, cos_y) = ((np.sin(tau), np.cos(tau)) for tau in (tau_x, tau_y))
    about_x = np.array([[1, 0, 0], [0, cos_x, sin_x], [0, -sin_x, cos_x]])
    about_y = np.array([[cos_y, 0, -sin_y], [0, 1, 0], [sin_y, 0, cos_y]])
    rotation = about_y @ about_x
    onto_plane = np.array(
        [[rotation[2, 2], 0, -rotation[0, 2]], [0, rotation[2, 2], -rotation[1, 2]], [0, 0, 1]]
    )
    return np.asarray(onto_plane @ rotation)
