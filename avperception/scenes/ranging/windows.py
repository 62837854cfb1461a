"""Which pulses of a turn may hit which solid, so that only those are cast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avperception.scenes.rig import Lidar
from avperception.scenes.solid import Solid
from avperception.types import Float64

_BESIDE = 0.3  # m: from so near, a solid may be hit in every direction


@dataclass(frozen=True)
class Window:
    """Columns `first_column`..`end_column` (they may run past the last and start again) and a span of beams.

    No ray meets the solid nearer than `nearest` metres.
    """

    number: int
    first_column: int
    end_column: int
    beams: slice
    nearest: float

    def columns(self, count: int) -> list[slice]:
        """The same columns as slices of a turn of `count`."""
        if self.end_column - self.first_column >= count:
            return [slice(0, count)]
        first, end = self.first_column % count, self.end_column % count
        return [slice(first, end)] if first < end else [slice(first, count), slice(0, end)]


def windows(
    solids: Sequence[Solid], lidar: Lidar, origin: Float64, yaw: float, speed: float, period: float
) -> list[Window]:
    """Windows of all solids in range, the nearest first.

    The lidar is at `origin` (3,) in the world, its x axis turned by `yaw`, and moves at `speed` m/s; within
    a turn, `period` seconds, the solids move as well: the windows are wide enough for half a turn either way.
    """
    if not solids:
        return []
    low = np.array([solid.shape.lower for solid in solids], np.float64)
    high = np.array([solid.shape.upper for solid in solids], np.float64)
    place = np.array([(solid.x, solid.y, solid.z, solid.yaw) for solid in solids])
    pace = np.array([np.hypot(*solid.velocity) for solid in solids])
    slack = ((pace + abs(speed)) * 0.5 * period + 0.05)[:, None]
    low[:, :2] -= slack
    high[:, :2] += slack
    c, s = np.cos(place[:, 3]), np.sin(place[:, 3])
    away = origin[:2] - place[:, :2]
    eye = np.stack([c * away[:, 0] + s * away[:, 1], c * away[:, 1] - s * away[:, 0]], axis=1)
    gap = np.maximum(np.maximum(low[:, :2] - eye, eye - high[:, :2]), 0.0)
    nearest = np.hypot(gap[:, 0], gap[:, 1])
    corners = (
        np.stack([np.stack([a[:, 0], b[:, 1]], axis=1) for a in (low, high) for b in (low, high)], axis=1)
        - eye[:, None]
    )
    farthest = np.linalg.norm(corners, axis=2).max(axis=1)
    beams = _beams(
        lidar, low[:, 2] + place[:, 2] - origin[2], high[:, 2] + place[:, 2] - origin[2], nearest, farthest
    )
    columns = _columns(corners, place[:, 3] - yaw, lidar.columns)
    columns[nearest < _BESIDE] = (0, lidar.columns)
    found = [
        Window(
            int(i),
            int(columns[i, 0]),
            int(columns[i, 1]),
            slice(int(beams[i, 0]), int(beams[i, 1])),
            float(nearest[i]),
        )
        for i in np.argsort(nearest, kind="stable")
        if nearest[i] < lidar.max_range and beams[i, 0] < beams[i, 1]
    ]
    return found


def _beams(
    lidar: Lidar, below: Float64, above: Float64, nearest: Float64, farthest: Float64
) -> NDArray[np.intp]:
    lowest = np.arctan2(below, np.where(below < 0, nearest, farthest))
    highest = np.arctan2(above, np.where(above > 0, nearest, farthest))
    first = np.searchsorted(lidar.elevations, lowest - 1e-3)
    end = np.searchsorted(lidar.elevations, highest + 1e-3)
    return np.stack([first, end], axis=1)


def _columns(corners: Float64, turn: Float64, count: int) -> NDArray[np.int64]:
    """First and end column (S, 2) of the directions to `corners` (S, 4, 2), in frames turned by `turn`."""
    middle = corners.mean(axis=1)
    ahead = np.arctan2(middle[:, 1], middle[:, 0])
    spread = np.arctan2(corners[..., 1], corners[..., 0]) - ahead[:, None]
    spread = np.mod(spread + np.pi, 2 * np.pi) - np.pi
    azimuth = ahead + turn
    step = 2 * np.pi / count
    first = np.floor((azimuth + spread.min(axis=1) + np.pi) / step) - 1
    end = np.ceil((azimuth + spread.max(axis=1) + np.pi) / step) + 1
    return np.stack([first, end], axis=1).astype(np.int64)
