"""Lens models written out by hand, with the lenses of real cameras to try them on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

K = np.array([[600.0, 0, 639.5], [0, 590.0, 359.5], [0, 0, 1]])
SIZE = (1280, 720)

LENSES: dict[str, tuple[str, list[float]]] = {
    "pinhole": ("plumb_bob", []),
    "pinhole of zeros": ("plumb_bob", [0, 0, 0, 0, 0]),
    # KITTI's raw left colour camera, 2011-09-26.
    "kitti barrel": ("plumb_bob", [-0.3728755, 0.2037299, 0.002219027, 0.001383707, -0.07233722]),
    "pincushion": ("plumb_bob", [0.12, 0.05, 0.001, -0.002, 0.01]),
    "four coefficients": ("plumb_bob", [-0.28, 0.08, 0.001, 0.0005]),
    "rational": ("rational_polynomial", [0.6, -0.2, 0.0003, -0.0002, -0.02, 0.95, -0.1, -0.05]),
    "fisheye": ("equidistant", [-0.02, 0.004, -0.003, 0.0005]),
    # An ideal fisheye: the image radius is the angle itself.
    "ideal fisheye": ("equidistant", [0, 0, 0, 0]),
}


def distorted(normalised: Float64, model: str, D: list[float]) -> Float64:
    """x/z, y/z (N, 2) through the lens: the formulas of OpenCV's documentation and REP-104's models."""
    x, y = normalised.T
    if model == "equidistant" and len(D):
        radius = np.hypot(x, y)
        theta = np.arctan(radius)
        angle = theta * (1 + sum(k * theta ** (2 * i + 2) for i, k in enumerate(D)))
        factor = np.where(radius > 1e-9, angle / np.maximum(radius, 1e-9), 1.0)
        return np.stack([x * factor, y * factor], axis=1)
    k1, k2, p1, p2, k3, k4, k5, k6 = [*D, *[0.0] * (8 - len(D))]
    r2 = x**2 + y**2
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    return np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x**2),
            y * radial + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y,
        ],
        axis=1,
    )


def pixels_of(normalised: Float64, model: str, D: list[float]) -> Float64:
    return distorted(normalised, model, D) * K[[0, 1], [0, 1]] + K[:2, 2]


def fold_radius(model: str, D: list[float]) -> float:
    """Undistorted radius at which the image of a ray stops moving outward."""
    radius = np.tan(np.radians(np.linspace(0, 88.9, 40_000)))
    radial = list(D)
    if model != "equidistant" and len(D):
        radial[2:4] = [0.0, 0.0]
    images = distorted(np.stack([radius, np.zeros_like(radius)], axis=1), model, radial)[:, 0]
    folds = np.flatnonzero(np.diff(images) <= 0)
    return float(radius[folds[0]]) if len(folds) else float("inf")
