"""Keeps actors from driving or walking through each other, as far as the ego vehicle can see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avperception.scenes.motion import Motion
from avperception.scenes.road import Road
from avperception.types import Float64

SIGHT = 130.0
"""Metres along the road from the ego vehicle beyond which nothing is seen."""

_STEP = 0.1  # s between the moments at which two paths are compared
_MARGIN = 10.0  # m beyond sight to which paths are compared
_CLEARANCE = 0.1  # m that must stay free between two


@dataclass(frozen=True)
class _Path:
    """A disc of `radius` m about `centres` (N, 2) at the times from number `first` on, or for good."""

    first: int
    centres: Float64
    radius: float
    stands: bool = False

    def gap(self, other: _Path) -> float:
        """Least distance between the two while both are in sight, metres."""
        if self.stands or other.stands:
            between = self.centres - other.centres
        else:
            first = max(self.first, other.first)
            end = min(self.first + len(self.centres), other.first + len(other.centres))
            if end <= first:
                return np.inf
            mine = self.centres[first - self.first : end - self.first]
            between = mine - other.centres[first - other.first : end - other.first]
        return float(np.hypot(between[:, 0], between[:, 1]).min()) - self.radius - other.radius


class Occupancy:
    """What is taken on a `road` while the `ego` vehicle passes, for `duration` seconds."""

    def __init__(self, road: Road, ego: Motion, duration: float) -> None:
        self._road = road
        self._times = np.arange(-_STEP, duration + 1.0, _STEP)
        self._ego_s = ego.pose(road.line, self._times).s
        self._paths: list[_Path] = []
        self._bounds: Float64 = np.zeros((64, 4))

    def stand(self, x: float, y: float, radius: float) -> None:
        """Take a place for good."""
        self._add(_Path(0, np.array([[x, y]]), radius, stands=True))

    def take(self, motion: Motion, size: tuple[float, float, float]) -> bool:
        """Take a path for something of `size` if it is in sight at all and touches nothing on its way."""
        paths = self._discs(motion, size)
        if not paths or not all(self._is_free(path) for path in paths):
            return False
        for path in paths:
            self._add(path)
        return True

    def _is_free(self, path: _Path) -> bool:
        low, high = _bounds(path)
        taken = self._bounds[: len(self._paths)]
        near = (taken[:, :2] <= high).all(axis=1) & (taken[:, 2:] >= low).all(axis=1)
        return all(self._paths[i].gap(path) > _CLEARANCE for i in np.flatnonzero(near))

    def _add(self, path: _Path) -> None:
        if len(self._paths) == len(self._bounds):
            self._bounds = np.concatenate([self._bounds, np.zeros_like(self._bounds)])
        self._bounds[len(self._paths)] = np.concatenate(_bounds(path))
        self._paths.append(path)

    def _discs(self, motion: Motion, size: tuple[float, float, float]) -> list[_Path]:
        """Discs that cover a footprint from its first moment in sight to its last."""
        away = motion.s0 + motion.v_s * self._times - self._ego_s
        seen = np.flatnonzero(np.abs(away) < SIGHT + _MARGIN)
        if not len(seen):
            return []
        pose = motion.pose(self._road.line, self._times[seen[0] : seen[-1] + 1])
        length, width, _ = size
        count = int(np.ceil(2 * length / width)) if length > 1.5 * width else 1
        radius = float(np.hypot(0.5 * width, 0.5 * length / count))
        along = np.stack([np.cos(pose.yaw), np.sin(pose.yaw)], axis=1)
        middle = np.stack([pose.x, pose.y], axis=1)
        offsets = length * (np.arange(count) - (count - 1) / 2) / count
        return [_Path(int(seen[0]), middle + along * offset, radius) for offset in offsets]


def _bounds(path: _Path) -> tuple[Float64, Float64]:
    low, high = path.centres.min(axis=0), path.centres.max(axis=0)
    return np.asarray(low - path.radius, np.float64), np.asarray(high + path.radius, np.float64)
