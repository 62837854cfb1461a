"""Rectified images, in which straight lines are straight: maps to and from the camera's own, on the host."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from avperception.ops.cpu.lenses import distort, distortion_limit, undistort
from avperception.ops.placement import Placement
from avperception.types import CameraModel, Float32, Float64

FRACTION_BITS = 5
"""A position between pixels is a multiple of 1/32, as OpenCV's maps have it."""

NODE_DISTANCE = 8
"""Pixels between those that are undistorted by iteration; between them a lens is as good as straight."""

SMALLEST_ZOOM = 0.7
"""The part of the lens's focal lengths that a rectified image keeps, lest a wide lens's middle be tiny."""

MAX_RETURN_ERROR = 0.5
"""Pixels by which an undistorted pixel may miss itself when distorted again; more and no ray leads to it."""

_ON_EDGE = np.linspace(0.0, 1.0, 9)
_OUTLINE = np.array([(x, y) for x in _ON_EDGE for y in _ON_EDGE if x in (0.0, 1.0) or y in (0.0, 1.0)])
"""Points on the outline of a unit square."""


@dataclass(frozen=True, eq=False)
class SamplingMap:
    """Where each pixel of a network's window (height, width) is sampled in the original image.

    `corners` (height, width, 2) int16 are x and y of the upper left of four neighbours, (-1, -1) where the
    lens shows nothing; `fractions` (height, width) uint16 is 32 times the way down from there plus the way
    to the right, each in 1/32 pixel. This is OpenCV's form of maps for `remap`.
    """

    corners: NDArray[np.int16]
    fractions: NDArray[np.uint16]

    @property
    def arrays(self) -> tuple[NDArray[np.int16], NDArray[np.uint16]]:
        return self.corners, self.fractions

    @cached_property
    def is_outside(self) -> NDArray[np.bool_]:
        """Where the lens shows nothing, (height, width)."""
        return self.corners[..., 0] < 0


@dataclass(frozen=True, eq=False)
class LabelMap:
    """The network's pixel that shows what each pixel of the original image (height, width) does.

    `cells` (height, width, 2) int16 are x and y in the network's labels, (-1, -1) where it has none.
    """

    cells: NDArray[np.int16]

    @property
    def arrays(self) -> tuple[NDArray[np.int16]]:
        return (self.cells,)


class Rectification:
    """The rectified image of a camera: of its size, seen by the pinhole that fits what the lens sees.

    From edge to edge it shows what the original does in the row and the column of the principal point, or as
    much of a very wide lens's as `SMALLEST_ZOOM` leaves. With the lens's own K a pinhole would cut off what a
    wide lens is there for; with yet shorter focal lengths it would show much that the lens does not, and
    networks take such black edges for things. The corners of the original are lost. Maps are made when
    first asked for, and kept.
    """

    def __init__(self, camera: CameraModel) -> None:
        self.camera = camera
        self._size = np.array([camera.width, camera.height])
        self._limit = distortion_limit(camera.D, camera.distortion_model)
        first, last = self._view()
        self._focal = self._size / (last - first)
        self._centre = -self._focal * first - 0.5
        self._sampling: dict[Placement, SamplingMap] = {}
        self._labels: dict[Placement, LabelMap] = {}

    @property
    def K(self) -> Float64:
        """The intrinsic matrix (3, 3) of the pinhole."""
        (fx, fy), (cx, cy) = self._focal, self._centre
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])

    def is_of(self, camera: CameraModel) -> bool:
        """Tell whether this is what would be made for a camera."""
        own = self.camera
        return (
            (own.width, own.height, own.distortion_model)
            == (camera.width, camera.height, camera.distortion_model)
            and np.array_equal(own.K, camera.K)
            and np.array_equal(own.D, camera.D)
        )

    def sampling_map(self, placement: Placement) -> SamplingMap:
        """Give the map from the window of a network's input, in which the rectified image lies."""
        if placement not in self._sampling:
            self._sampling[placement] = self._make_sampling_map(placement)
        return self._sampling[placement]

    def label_map(self, placement: Placement) -> LabelMap:
        """Give the map from the original image to labels of the rectified one, which lie at `placement`."""
        if placement not in self._labels:
            self._labels[placement] = self._make_label_map(placement)
        return self._labels[placement]

    def boxes_to_original(self, boxes: Float32) -> Float32:
        """Map boxes (N, 4) of the rectified image to the boxes round what the lens makes of them.

        Boxes count from the image's edge, to which they are clipped: its first pixel's centre is (0.5, 0.5).
        """
        sides = boxes[:, None, 2:] - boxes[:, None, :2]
        outlines = boxes[:, None, :2] + sides * _OUTLINE - 0.5
        rays = self._rays(outlines.reshape(-1, 2))
        # What lies beyond the lens's view is brought to its rim.
        rays *= np.minimum(1.0, self._limit / np.maximum(_radius(rays), 1e-9))[:, None]
        bent = self._distort(rays).reshape(outlines.shape) + 0.5
        found = np.concatenate([bent.min(axis=1), bent.max(axis=1)], axis=1)
        return np.clip(found, 0, np.tile(self._size, 2)).astype(np.float32)

    def _view(self) -> tuple[Float64, Float64]:
        """The outermost x/z and y/z, left and top, right and bottom, that the lens shows along its axes."""
        K, edges = self.camera.K, np.stack([np.full(2, -0.5), self._size - 0.5])
        view = (edges - K[:2, 2]) / K[[0, 1], [0, 1]]
        steps = np.tan(np.linspace(0.0, np.arctan(self._limit), 2000))
        for side, axis in np.ndindex(2, 2):
            rays = np.zeros((len(steps), 2))
            rays[:, axis] = steps * np.sign(view[side, axis])
            seen = self._is_inside(self._distort(rays))
            reach = steps[seen][-1] if seen[0] else 0.0
            if reach > 0:  # else the principal point is outside of the image, or the lens is none
                reach = min(reach, abs(view[side, axis]) / SMALLEST_ZOOM)
                view[side, axis] = np.copysign(reach, view[side, axis])
        return view[0], view[1]

    def _make_sampling_map(self, placement: Placement) -> SamplingMap:
        columns = (np.arange(placement.width) + 0.5) / placement.scale_x - 0.5
        rows = (np.arange(placement.height) + 0.5) / placement.scale_y - 0.5
        rays = self._rays(np.stack(np.meshgrid(columns, rows), axis=-1))
        seen = _radius(rays) <= self._limit
        pixels = np.full(rays.shape, np.nan)
        pixels[seen] = self._distort(rays[seen])
        inside = self._is_inside(pixels)
        clipped = np.clip(np.where(inside[..., None], pixels, 0), 0, self._size - 1)
        steps = np.rint(clipped * (1 << FRACTION_BITS)).astype(np.int32)
        corners, (right, down) = steps >> FRACTION_BITS, np.moveaxis(steps & 31, -1, 0)
        corners[~inside] = -1
        return SamplingMap(corners.astype(np.int16), ((down << FRACTION_BITS) + right).astype(np.uint16))

    def _make_label_map(self, placement: Placement) -> LabelMap:
        rectified = self._rectified_pixels()
        inside = self._is_inside(rectified)
        extent = np.array([placement.width, placement.height])
        cells = np.floor((np.where(inside[..., None], rectified, 0) + 0.5) / self._size * extent)
        cells = np.minimum(cells, extent - 1) + (placement.left, placement.top)
        cells[~inside] = -1
        return LabelMap(cells.astype(np.int16))

    def _rectified_pixels(self) -> Float64:
        """Where each pixel of the original image lies in the rectified one (height, width, 2), or NaN."""
        width, height = self._size
        columns, rows = (_nodes(length) for length in (width, height))
        nodes = np.stack(np.meshgrid(columns, rows), axis=-1)
        camera = self.camera
        rays = undistort(nodes.reshape(-1, 2), camera.K, camera.D, camera.distortion_model)
        rays = rays.reshape(nodes.shape)
        seen = _radius(rays) <= self._limit
        seen[seen] = np.abs(self._distort(rays[seen]) - nodes[seen]).max(axis=1) < MAX_RETURN_ERROR
        rays[~seen] = np.nan
        step = NODE_DISTANCE
        fine = cv2.resize(rays, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
        return np.asarray(fine[step : step + height, step : step + width]) * self._focal + self._centre

    def _rays(self, rectified: Float64) -> Float64:
        """Normalised image coordinates, x/z and y/z, of pixels (..., 2) of the rectified image."""
        return (rectified - self._centre) / self._focal

    def _distort(self, rays: Float64) -> Float64:
        """Pixels (N, 2) of the original image of normalised image coordinates (N, 2)."""
        return distort(rays, self.camera.K, self.camera.D, self.camera.distortion_model)

    def _is_inside(self, pixels: Float64) -> NDArray[np.bool_]:
        """Tell which pixels (..., 2) lie in an image of the camera's size; those that are NaN do not."""
        return np.asarray(((pixels >= -0.5) & (pixels < self._size - 0.5)).all(axis=-1))


def _radius(rays: Float64) -> Float64:
    return np.asarray(np.hypot(rays[..., 0], rays[..., 1]))


def _nodes(length: int) -> Float64:
    """Centres of the blocks of `NODE_DISTANCE` pixels that cover a side, with one block more at both ends."""
    blocks = np.arange(-1, -(-length // NODE_DISTANCE) + 1, dtype=np.float64)
    return NODE_DISTANCE * blocks + 0.5 * (NODE_DISTANCE - 1)
