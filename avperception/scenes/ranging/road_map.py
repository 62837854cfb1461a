"""Looks up where on the road (s, d) many world points lie."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial import cKDTree

from avperception.scenes.centre_line import STEP, CentreLine
from avperception.types import Float32, Float64

_CELL = 1.0  # m; between cells s and d are interpolated, which is right to 2 mm on an arc of 70 m radius
_TILE = 128  # cells a side of the pieces that are worked out when first needed


class RoadMap:
    """A raster of s and d over the world, filled tile by tile as it is asked for."""

    def __init__(self, line: CentreLine) -> None:
        self._line = line
        self._tree = cKDTree(line.xy)
        self._tiles: dict[tuple[int, int], Float32] = {}

    def road_coordinates(self, x: Float32, y: Float32, centre: Float64) -> tuple[Float32, Float32]:
        """The s and d (h, w) of world points x, y (h, w), all within 120 m of `centre` (2,)."""
        corner = np.floor((centre - 125.0) / (_CELL * _TILE)).astype(int)
        end = np.floor((centre + 125.0) / (_CELL * _TILE)).astype(int)
        rows = [
            np.concatenate([self._tile(i, j) for i in range(corner[0], end[0] + 1)], axis=1)
            for j in range(corner[1], end[1] + 1)
        ]
        raster = np.ascontiguousarray(np.concatenate(rows, axis=0))
        origin = corner * _TILE * _CELL
        map_x = ((x - origin[0]) / _CELL).astype(np.float32)
        map_y = ((y - origin[1]) / _CELL).astype(np.float32)
        values = cv2.remap(raster, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return values[..., 0], values[..., 1]

    def _tile(self, i: int, j: int) -> Float32:
        if (i, j) not in self._tiles:
            steps = np.arange(_TILE) * _CELL
            x, y = np.meshgrid(i * _TILE * _CELL + steps, j * _TILE * _CELL + steps)
            self._tiles[i, j] = self._project(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(
                _TILE, _TILE, 2
            )
        return self._tiles[i, j]

    def _project(self, xy: Float64) -> Float32:
        """Foot of each point (N, 2) on the centre line, as s and d (N, 2)."""
        line = self._line
        _, nearest = self._tree.query(xy)
        heading = line.heading[nearest]
        away = xy - line.xy[nearest]
        along = np.cos(heading) * away[:, 0] + np.sin(heading) * away[:, 1]
        across = -np.sin(heading) * away[:, 0] + np.cos(heading) * away[:, 1]
        return np.stack([line.s0 + STEP * nearest + along, across], axis=1).astype(np.float32)
