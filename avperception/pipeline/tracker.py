"""Gives the 3D detections ids that last: constant-velocity Kalman filters and an optimal assignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from avperception.pipeline.sizes import group_of
from avperception.types import Detection3D, Float64

GATE = 9.21
"""Squared Mahalanobis distance that holds 99 % of true pairs in two dimensions (chi-square)."""

INITIAL_SPEED_SIGMA = 10.0
"""Speed against the target frame that a new object may have [m/s]; a vehicle's frame moves itself."""


@dataclass
class TrackerSettings:
    """A track not seen for `max_age` [s] ends; objects change speed by `acceleration` [m/s^2]."""

    max_age: float = 1.0
    acceleration: float = 3.0


class _Track:
    """Position and velocity (x y vx vy) of one object in the target frame."""

    def __init__(self, track_id: int, detection: Detection3D, stamp_ns: int) -> None:
        self.track_id = track_id
        self.group = group_of(detection.class_name)
        self.state = np.array([*detection.center[:2], 0.0, 0.0])
        self.covariance = np.diag([0.0, 0.0, INITIAL_SPEED_SIGMA**2, INITIAL_SPEED_SIGMA**2])
        self.covariance[:2, :2] = detection.covariance[:2, :2]
        self.stamp_ns = stamp_ns
        self.seen_ns = stamp_ns

    def predict(self, stamp_ns: int, acceleration: float) -> None:
        dt = (stamp_ns - self.stamp_ns) / 1e9
        motion = np.eye(4)
        motion[0, 2] = motion[1, 3] = dt
        push = np.array([[dt**2 / 2, 0], [0, dt**2 / 2], [dt, 0], [0, dt]]) * acceleration
        self.state = motion @ self.state
        self.covariance = motion @ self.covariance @ motion.T + push @ push.T
        self.stamp_ns = stamp_ns

    def update(self, detection: Detection3D) -> None:
        innovation = self.covariance[:2, :2] + detection.covariance[:2, :2] + _jump(detection)
        gain = self.covariance[:, :2] @ np.linalg.inv(innovation)
        self.state = self.state + gain @ (detection.center[:2] - self.state[:2])
        self.covariance = self.covariance - gain @ self.covariance[:2, :]
        self.seen_ns = self.stamp_ns


def _jump(detection: Detection3D) -> Float64:
    """How far a box can jump when another side of its object comes into view: a (2, 2) covariance [m^2]."""
    return np.eye(2) * (0.1 * float(detection.size[1])) ** 2


def _distances(detections: Sequence[Detection3D], tracks: Sequence[_Track]) -> Float64:
    """Squared Mahalanobis distances (detections, tracks); infinite for another group of classes."""
    positions = np.array([detection.center[:2] for detection in detections])
    errors = positions[:, None] - np.array([track.state[:2] for track in tracks])
    innovations = np.array([track.covariance[:2, :2] for track in tracks])
    innovations = innovations + np.array([detection.covariance[:2, :2] for detection in detections])[:, None]
    innovations = innovations + np.array([_jump(detection) for detection in detections])[:, None]
    distances: Float64 = (errors * np.linalg.solve(innovations, errors[..., None])[..., 0]).sum(axis=-1)
    groups = np.array([group_of(detection.class_name) for detection in detections])
    distances[groups[:, None] != np.array([track.group for track in tracks])] = np.inf
    return distances


class Tracker:
    """Follows objects from sweep to sweep; ids count up from 1 and are never used again.

    Velocities are relative to the target frame, so a vehicle's own motion is in them.
    """

    def __init__(self, settings: TrackerSettings) -> None:
        self.settings = settings
        self._tracks: list[_Track] = []
        self._next_id = 1

    def update(self, detections: tuple[Detection3D, ...], stamp_ns: int) -> tuple[Detection3D, ...]:
        """Give each detection the id and velocity of its track, in the order they came.

        `stamp_ns` must not go backwards; call `reset` when time has jumped.
        """
        oldest = stamp_ns - int(self.settings.max_age * 1e9)
        self._tracks = [track for track in self._tracks if track.seen_ns >= oldest]
        for track in self._tracks:
            track.predict(stamp_ns, self.settings.acceleration)
        pairs = self._assign(detections)
        tracked = []
        for index, detection in enumerate(detections):
            if index in pairs:
                track = pairs[index]
                track.update(detection)
            else:
                track = _Track(self._next_id, detection, stamp_ns)
                self._next_id += 1
                self._tracks.append(track)
            tracked.append(detection.tracked(track.track_id, np.array([*track.state[2:], 0.0])))
        return tuple(tracked)

    def reset(self) -> None:
        """Forget all tracks and start again at id 1, as the same recording played again must."""
        self._tracks.clear()
        self._next_id = 1

    def _assign(self, detections: tuple[Detection3D, ...]) -> dict[int, _Track]:
        if not detections or not self._tracks:
            return {}
        cost = _distances(detections, self._tracks)
        rows, columns = linear_sum_assignment(np.minimum(cost, GATE * 10))
        return {
            int(row): self._tracks[column]
            for row, column in zip(rows, columns, strict=True)
            if cost[row, column] <= GATE
        }
