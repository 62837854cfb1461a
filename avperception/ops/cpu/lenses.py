"""Camera lenses: points to pixels and back, on the host."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avperception.types import Float32, Float64


def project_points(
    points_camera: Float32, K: Float64, D: Float64, distortion_model: str, width: int, height: int
) -> tuple[Float32, NDArray[np.int64]]:
    """Project points (N, 3) of an optical frame; give pixels (M, 2) and the rows that fall into the image.

    Points nearer than 0.1 m are left out, and so are those beyond the angle up to which the
    distortion is monotonic: a polynomial lens model folds far points back into the picture there.
    """
    x, y, z = points_camera.T
    limit = np.float32(visible_radius(K, D, distortion_model, width, height))
    rows = np.flatnonzero((z > 0.1) & (np.abs(x) <= limit * z) & (np.abs(y) <= limit * z))
    normalised = (points_camera[rows, :2] / points_camera[rows, 2:]).astype(np.float64)
    rows_in_lens = np.hypot(normalised[:, 0], normalised[:, 1]) <= limit
    rows, normalised = rows[rows_in_lens], normalised[rows_in_lens]
    pixels = distort(normalised, K, D, distortion_model)
    inside = (pixels >= -0.5).all(axis=1) & (pixels[:, 0] < width - 0.5) & (pixels[:, 1] < height - 0.5)
    return pixels[inside].astype(np.float32), rows[inside]


def distort(normalised: Float64, K: Float64, D: Float64, distortion_model: str) -> Float64:
    """Map normalised image coordinates (N, 2), x/z and y/z, to pixels (N, 2) by lens model and K."""
    if is_pinhole(D, distortion_model):
        return normalised * K[[0, 1], [0, 1]] + normalised[:, ::-1] * [K[0, 1], 0.0] + K[:2, 2]
    if not len(normalised):
        return np.zeros((0, 2))
    if distortion_model == "equidistant":
        return np.asarray(cv2.fisheye.distortPoints(normalised[:, None], K, D[:4])).reshape(-1, 2)
    rays = np.concatenate([normalised, np.ones((len(normalised), 1))], axis=1)
    pixels, _ = cv2.projectPoints(rays[:, None], np.zeros(3), np.zeros(3), K, D)
    return pixels.reshape(-1, 2)


def is_pinhole(D: Float64, distortion_model: str) -> bool:
    """Tell whether a lens bends nothing; an equidistant one bends even with zero coefficients."""
    return not len(D) or (distortion_model != "equidistant" and not np.any(D))


def undistort(pixels: NDArray[Any], K: Float64, D: Float64, distortion_model: str) -> Float64:
    """Map pixels (N, 2) to normalised image coordinates (N, 2), the inverse of `distort`."""
    if not len(pixels):
        return np.zeros((0, 2))
    points = np.asarray(pixels, dtype=np.float64).reshape(-1, 1, 2)
    if distortion_model == "equidistant" and len(D):
        return np.asarray(cv2.fisheye.undistortPoints(points, K, D[:4])).reshape(-1, 2)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)
    lens = D if np.any(D) else np.zeros(5)
    # OpenCV 4 takes the criterion under another name than OpenCV 5.
    iterate: Any = getattr(cv2, "undistortPointsIter", cv2.undistortPoints)
    return iterate(points, K, lens, R=np.eye(3), P=np.eye(3), criteria=stop).reshape(-1, 2)


def visible_radius(K: Float64, D: Float64, distortion_model: str, width: int, height: int) -> float:
    """Give the undistorted radius, tan of the angle to the axis, beyond which no ray meets the image."""
    return _visible_radius(tuple(K.ravel()), tuple(D.ravel()), distortion_model, width, height)


@lru_cache(maxsize=64)
def _visible_radius(
    K_values: tuple[float, ...], D_values: tuple[float, ...], distortion_model: str, width: int, height: int
) -> float:
    K, D = np.array(K_values).reshape(3, 3), np.array(D_values)
    limit = distortion_limit(D, distortion_model)
    corners = np.array([[x, y] for x in (-0.5, width - 0.5) for y in (-0.5, height - 0.5)])
    at_corners = np.hypot(*((corners - K[:2, 2]) / K[[0, 1], [0, 1]]).T).max()
    if is_pinhole(D, distortion_model):
        return min(limit, float(at_corners) * 1.001)
    radius = np.tan(np.linspace(0.0, np.arctan(min(limit, 1e3)), 2000))
    axis = np.stack([radius, np.zeros_like(radius)], axis=1)
    inside = np.abs(distort(axis, np.eye(3), D, distortion_model)[:, 0]) <= at_corners * 1.05
    return float(radius[min(np.flatnonzero(inside)[-1] + 1, len(radius) - 1)])


def distortion_limit(D: Float64, distortion_model: str) -> float:
    """Find the largest undistorted radius, tan of the angle to the axis, up to which a lens model grows.

    Infinity for a pinhole. Beyond 89 degrees nothing is asked of a model.
    """
    if is_pinhole(D, distortion_model):
        return float("inf")
    radius = np.tan(np.linspace(0.0, np.radians(89.0), 2000))
    axis = np.stack([radius, np.zeros_like(radius)], axis=1)
    radial_only = np.array(D, dtype=np.float64)
    if distortion_model != "equidistant":
        radial_only[2:4] = 0.0
    distorted = distort(axis, np.eye(3), radial_only, distortion_model)[:, 0]
    folds = np.flatnonzero(np.diff(distorted) <= 0)
    return float(radius[folds[0]]) if len(folds) else float(radius[-1])
