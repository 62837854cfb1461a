"""Looks up where on the road (s, d) many world points lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from avperception.scenes.centre_line import STEP, CentreLine
from avperception.types import Float32, Float64

_CELL = 1.0  # m
_TILE = 128  # cells a side of the pieces that are worked out when first needed
_REACH = 125.0  # m about the centre of a look-up that the map covers


class RoadMap:
    """The sample of the centre line nearest to each cell of the world, found tile by tile as it is asked for.

    From the sample's own place and heading s and d follow: d is right to 4 mm on an arc of 70 m radius,
    s to a tenth of the way to the sample.
    """

    def __init__(self, line: CentreLine) -> None:
        self._line = line
        self._tree = cKDTree(line.xy)
        self._tiles: dict[tuple[int, int], NDArray[np.int32]] = {}
        self._cosine, self._sine = np.cos(line.heading), np.sin(line.heading)

    def road_coordinates(self, x: Float64, y: Float64, centre: Float64) -> tuple[Float32, Float32]:
        """The s and d of world points x, y (all of one shape), within 120 m of `centre` (2,)."""
        corner = np.floor((centre - _REACH) / (_CELL * _TILE)).astype(int)
        end = np.floor((centre + _REACH) / (_CELL * _TILE)).astype(int)
        rows = [
            np.concatenate([self._tile(i, j) for i in range(corner[0], end[0] + 1)], axis=1)
            for j in range(corner[1], end[1] + 1)
        ]
        cells = np.concatenate(rows, axis=0)
        origin = corner * _TILE * _CELL
        column = np.clip(((x - origin[0]) / _CELL).astype(np.intp), 0, cells.shape[1] - 1)
        row = np.clip(((y - origin[1]) / _CELL).astype(np.intp), 0, cells.shape[0] - 1)
        nearest = cells.reshape(-1).take(row * cells.shape[1] + column)
        cosine, sine = self._cosine.take(nearest), self._sine.take(nearest)
        dx, dy = x - self._line.xy[:, 0].take(nearest), y - self._line.xy[:, 1].take(nearest)
        s = self._line.s0 + STEP * nearest + cosine * dx + sine * dy
        return s.astype(np.float32), (cosine * dy - sine * dx).astype(np.float32)

    def _tile(self, i: int, j: int) -> NDArray[np.int32]:
        if (i, j) not in self._tiles:
            steps = (np.arange(_TILE) + 0.5) * _CELL
            x, y = np.meshgrid(i * _TILE * _CELL + steps, j * _TILE * _CELL + steps)
            _, nearest = self._tree.query(np.stack([x.ravel(), y.ravel()], axis=1))
            self._tiles[i, j] = nearest.reshape(_TILE, _TILE).astype(np.int32)
        return self._tiles[i, j]
