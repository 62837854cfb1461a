"""From the picture of an ideal pinhole to that of the real lens."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from avperception.errors import ConfigurationError
from avperception.ops.cpu import distort, undistort
from avperception.scenes.rig import Camera
from avperception.types import Float64, UInt8

_WIDEST = np.tan(np.radians(78.0))  # beyond this a flat picture grows without bound
_LARGEST = 8.0  # pixels of the ideal picture per pixel of the image
_CHECKED = 16  # every so many pixels the lens is checked
_ROUND_TRIP = 0.5  # pixels that undistorting and distorting again may differ


@dataclass(frozen=True)
class Lens:
    """The ideal pinhole picture behind a camera's image.

    `K` (3, 3), `width` and `height` are those of the ideal picture, which covers everything that the
    image shows. `in_view` (height, width) uint8 is 1 where it does. Without distortion both are one.
    """

    camera: Camera
    K: Float64
    width: int
    height: int
    in_view: UInt8
    maps: tuple[NDArray[np.int16], NDArray[np.uint16]] | None

    def distorted(self, picture: UInt8) -> UInt8:
        """The image of the real lens from an ideal BGR picture; interpolates linearly."""
        if self.maps is None:
            return picture
        return np.asarray(cv2.remap(picture, *self.maps, cv2.INTER_LINEAR), np.uint8)

    def distorted_labels(self, labels: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """The same for a picture of labels (uint16), whose values are not mixed."""
        if self.maps is None:
            return labels
        return np.asarray(cv2.remap(labels, *self.maps, cv2.INTER_NEAREST), np.uint16)

    def distorted_points(self, pixels: Float64) -> Float64:
        """Move pixels (N, 2) of the ideal picture, all within it, to the image."""
        if self.maps is None:
            return pixels
        model = self.camera.model
        focal, centre = self.K[[0, 1], [0, 1]], self.K[:2, 2]
        return distort((pixels - centre) / focal, model.K, model.D, model.distortion_model)


def make_lens(camera: Camera) -> Lens:
    """Work out the ideal picture for a camera that `check_rig` has passed.

    Raises ConfigurationError for a view too wide for a flat picture, or a distortion that folds.
    """
    model = camera.model
    if not np.any(model.D):
        corners = np.array([[-0.5, -0.5], [model.width - 0.5, model.height - 0.5]])
        _check_rays(camera, undistort(corners, model.K, model.D, model.distortion_model), 0.0)
        full = np.ones((model.height, model.width), np.uint8)
        return Lens(camera, np.asarray(model.K, np.float64), model.width, model.height, full, None)
    x, y = np.meshgrid(np.arange(model.width, dtype=np.float64), np.arange(model.height, dtype=np.float64))
    pixels = np.stack([x.ravel(), y.ravel()], axis=1)
    rays = undistort(pixels, model.K, model.D, model.distortion_model)
    border = (x == 0) | (y == 0) | (x == model.width - 1) | (y == model.height - 1)
    some = (border | ((x % _CHECKED == 0) & (y % _CHECKED == 0))).ravel()
    back = distort(rays[some], model.K, model.D, model.distortion_model)
    error = np.abs(back - pixels[some]).max() if np.isfinite(back).all() else np.inf
    _check_rays(camera, rays, float(error))
    focal = model.K[[0, 1], [0, 1]]
    low = np.floor((rays * focal).min(axis=0)) - 2
    size = np.ceil((rays * focal).max(axis=0)) + 3 - low
    if size.prod() > _LARGEST * model.width * model.height:
        raise ConfigurationError(f"camera {camera.name}: its view is too wide for a flat picture: narrow it")
    width, height = (int(v) for v in size)
    K = np.array([[focal[0], 0, -low[0]], [0, focal[1], -low[1]], [0, 0, 1.0]])
    sources = (rays * focal - low).astype(np.float32).reshape(model.height, model.width, 2)
    maps = cv2.convertMaps(sources[..., 0], sources[..., 1], cv2.CV_16SC2)
    in_view = np.zeros((height, width), np.uint8)
    outline = np.concatenate([sources[0], sources[:, -1], sources[-1, ::-1], sources[::-1, 0]])
    cv2.fillPoly(in_view, [np.round(outline).astype(np.int32)], 1)
    return Lens(camera, K, width, height, in_view, maps)


def _check_rays(camera: Camera, rays: Float64, error: float) -> None:
    if not np.isfinite(rays).all() or error > _ROUND_TRIP:
        raise ConfigurationError(
            f"camera {camera.name}: the distortion {camera.model.D.tolist()} folds within the image: "
            "no lens does that, calibrate it again"
        )
    if np.abs(rays).max() > _WIDEST:
        raise ConfigurationError(f"camera {camera.name}: it sees more than 156 degrees: give a narrower view")
