"""What of the ground one camera sees, and where each of its pixels lies on it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avperception.scenes.conditions import Condition
from avperception.scenes.textures import MEAN_GREY
from avperception.types import Float32, Float64, UInt8

_GRID = 8  # pixels a side of one cell in which light is worked out
_BANDS = ((12.0, 0.020), (36.0, 0.08), (160.0, 0.32))  # nearer than (m), metres of ground per texture pixel


class GroundView:
    """What of the ground one camera sees; everything here depends on how it is mounted only."""

    def __init__(self, K: Float64, width: int, height: int, T_base_camera: Float64) -> None:
        self.K, self.width, self.height = K, width, height
        rays = T_base_camera[:3, :3] @ np.linalg.inv(K)
        place = T_base_camera[:3, 3]
        self._ground_from_image = np.stack(
            [rays[0] * place[2] - place[0] * rays[2], rays[1] * place[2] - place[1] * rays[2], -rays[2]]
        )
        distance = self._distances(np.arange(height), np.arange(0, width, 16))
        below = np.flatnonzero(np.isfinite(distance).any(axis=1))
        self.top = int(below[0]) if len(below) else height
        self._bands = self._texture_rows(distance)
        self._make_grid(place)

    def _distances(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Float64:
        """Distance (rows, columns) to the ground along each pixel's ray, infinite above the horizon."""
        x, y = np.meshgrid(columns, rows)
        gx, gy, gw = np.moveaxis(
            np.stack([x, y, np.ones_like(x)], axis=-1) @ self._ground_from_image.T, -1, 0
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(gw > 1e-9, np.hypot(gx / gw, gy / gw), np.inf)

    def _texture_rows(self, distance: Float64) -> list[tuple[int, int, float]]:
        """(first row, end row, metres per texture pixel) of each band of the picture, far to near."""
        nearest = distance[self.top :].min(axis=1, initial=np.inf)
        bands, end = [], self.height
        for limit, resolution in _BANDS:
            first = self.top + int((nearest > limit).sum())
            if first < end:
                bands.append((first, end, resolution))
                end = first
        return bands

    def _make_grid(self, place: Float64) -> None:
        rows = np.arange(self.top, self.height + _GRID, _GRID)
        columns = np.arange(0, self.width + _GRID, _GRID)
        x, y = np.meshgrid(columns, rows)
        gx, gy, gw = np.moveaxis(
            np.stack([x, y, np.ones_like(x)], axis=-1) @ self._ground_from_image.T, -1, 0
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            far = 1 / np.maximum(gw, 1e-3)
        points = np.stack([gx * far, gy * far, np.zeros_like(gx)], axis=-1)
        away = points - place
        reach = np.linalg.norm(away, axis=-1, keepdims=True)
        points = place + away * np.minimum(1.0, 300.0 / reach)
        self.grid_base = points.astype(np.float32)
        self.grid_distance = np.linalg.norm(self.grid_base - place.astype(np.float32), axis=-1)
        self._hazes: dict[tuple[object, ...], tuple[Float32, UInt8]] = {}

    def haze(self, condition: Condition) -> tuple[Float32, UInt8]:
        """What haze leaves of the light on the grid (h, w, 1), and adds to the picture (h, w, 3)."""
        key = (condition.fog_density, condition.fog)
        if key not in self._hazes:
            kept = np.exp(-condition.fog_density * self.grid_distance)[..., None].astype(np.float32)
            added = ((1 - kept) * np.asarray(condition.fog, np.float32)).astype(np.uint8)
            self._hazes = {key: (kept, self.enlarged(added))}
        return self._hazes[key]

    def enlarged(self, grid: UInt8) -> UInt8:
        """A picture (height - top, width, 3) from values on the grid."""
        size = (grid.shape[1] * _GRID, grid.shape[0] * _GRID)
        whole = cv2.resize(grid, size, interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(whole[: self.height - self.top, : self.width])

    def texture(self, tile: UInt8, T_world_base: Float64, phase: Float64, is_road: UInt8) -> UInt8:
        """A grey picture (height - top, width) of a `ground_tile` that lies on the world's ground.

        Its first channel is used where `is_road` is 255, the second elsewhere. Half the resolution will
        do: what is finer drowns in the sensor's noise.
        """
        height, width = self.height - self.top, self.width
        half = np.full((-(-height // 2), -(-width // 2), 2), MEAN_GREY, np.uint8)
        size = tile.shape[0]
        for first, end, resolution in self._bands:
            place = np.mod(T_world_base[:2, 3] + phase, size * resolution)
            pixels = np.array(
                [
                    [*T_world_base[0, :2] / resolution, place[0] / resolution],
                    [*T_world_base[1, :2] / resolution, place[1] / resolution],
                    [0, 0, 1],
                ]
            )
            rows = slice((first - self.top) // 2, -(-(end - self.top) // 2))
            onto = np.array([[2, 0, 0.5], [0, 2, self.top + 2 * rows.start + 0.5], [0, 0, 1.0]])
            half[rows] = cv2.warpPerspective(
                tile, pixels @ self._ground_from_image @ onto, (half.shape[1], rows.stop - rows.start),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_WRAP,
            )  # fmt: skip
        both = cv2.resize(half, (2 * half.shape[1], 2 * half.shape[0]), interpolation=cv2.INTER_LINEAR)
        both = both[:height, :width]
        picture = cv2.extractChannel(both, 1)
        cv2.copyTo(cv2.extractChannel(both, 0), is_road, picture)
        return picture
