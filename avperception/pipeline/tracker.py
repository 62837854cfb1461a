"""Gives the 3D detections ids that last: constant-velocity Kalman filters and an optimal assignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from avperception.pipeline.sizes import group_of
from avperception.types import Bool, Detection3D, Float64

GATE = 9.21
"""Squared Mahalanobis distance that holds 99 % of true pairs in two dimensions (chi-square)."""

INITIAL_SPEED_SIGMA = 10.0
"""Speed against the target frame that a new object may have [m/s]; a vehicle's frame moves itself."""


@dataclass
class TrackerSettings:
    """A track not seen for `max_age` [s] ends; objects change speed by `acceleration` [m/s^2]."""

    max_age: float = 1.0
    acceleration: float = 3.0


class _Measured:
    """What is used of some detections (M,): where they are on the ground, how surely, and their groups."""

    def __init__(self, detections: Sequence[Detection3D]) -> None:
        self.positions: Float64 = np.array([d.center[:2] for d in detections]).reshape(-1, 2)
        self.covariances: Float64 = np.array([d.covariance[:2, :2] for d in detections]).reshape(-1, 2, 2)
        # A box jumps when another side of its object comes into view [m^2].
        widths = np.array([d.size[1] for d in detections])
        self.jumps: Float64 = np.eye(2) * ((0.1 * widths) ** 2)[:, None, None]
        self.groups: NDArray[Any] = np.array([group_of(d.class_name) for d in detections], dtype=object)


class _Tracks:
    """All objects that are followed, at one time: x y vx vy (N, 4) of each, in the target frame.

    Kept as arrays: object by object, forty of them took longer than all else of fusion on a GPU.
    """

    def __init__(self) -> None:
        self.ids: NDArray[np.int64] = np.zeros(0, np.int64)
        self.groups: NDArray[Any] = np.zeros(0, dtype=object)
        self.states: Float64 = np.zeros((0, 4))
        self.covariances: Float64 = np.zeros((0, 4, 4))
        self.seen_ns: NDArray[np.int64] = np.zeros(0, np.int64)
        self._stamp_ns = 0

    def __len__(self) -> int:
        return len(self.ids)

    def keep(self, is_kept: Bool) -> None:
        """Let go of the others."""
        self.ids, self.groups, self.seen_ns = self.ids[is_kept], self.groups[is_kept], self.seen_ns[is_kept]
        self.states, self.covariances = self.states[is_kept], self.covariances[is_kept]

    def predict(self, stamp_ns: int, acceleration: float) -> None:
        """Move all on to a time, at constant velocity but for `acceleration` [m/s^2], white noise."""
        dt = (stamp_ns - self._stamp_ns) / 1e9
        motion = np.eye(4)
        motion[0, 2] = motion[1, 3] = dt
        push = np.array([[dt**2 / 2, 0], [0, dt**2 / 2], [dt, 0], [0, dt]]) * acceleration
        self.states = self.states @ motion.T
        self.covariances = motion @ self.covariances @ motion.T + push @ push.T
        self._stamp_ns = stamp_ns

    def correct(self, tracks: NDArray[np.intp], measured: _Measured, which: NDArray[np.intp]) -> None:
        """Bring what `which` of the detections measured into as many tracks (Kalman's update)."""
        covariances = self.covariances[tracks]
        innovations = covariances[:, :2, :2] + measured.covariances[which] + measured.jumps[which]
        gains = covariances[:, :, :2] @ np.linalg.inv(innovations)
        errors = measured.positions[which] - self.states[tracks, :2]
        self.states[tracks] += (gains @ errors[..., None])[..., 0]
        self.covariances[tracks] = covariances - gains @ covariances[:, :2, :]
        self.seen_ns[tracks] = self._stamp_ns

    def begin(self, ids: NDArray[np.int64], measured: _Measured, which: NDArray[np.intp]) -> None:
        """Follow some detections from now on; nothing is known of their velocity."""
        states = np.zeros((len(which), 4))
        states[:, :2] = measured.positions[which]
        covariances = np.zeros((len(which), 4, 4))
        covariances[:, [2, 3], [2, 3]] = INITIAL_SPEED_SIGMA**2
        covariances[:, :2, :2] = measured.covariances[which]
        self.ids = np.concatenate([self.ids, ids])
        self.groups = np.concatenate([self.groups, measured.groups[which]])
        self.states = np.concatenate([self.states, states])
        self.covariances = np.concatenate([self.covariances, covariances])
        self.seen_ns = np.concatenate([self.seen_ns, np.full(len(which), self._stamp_ns)])

    def distances(self, measured: _Measured) -> Float64:
        """Squared Mahalanobis distances (M, N) of detections; infinite for another group of classes."""
        errors = measured.positions[:, None] - self.states[:, :2]
        own = (measured.covariances + measured.jumps)[:, None]
        innovations = self.covariances[:, :2, :2] + own
        distances: Float64 = (errors * np.linalg.solve(innovations, errors[..., None])[..., 0]).sum(axis=-1)
        distances[measured.groups[:, None] != self.groups] = np.inf
        return distances


class Tracker:
    """Follows objects from sweep to sweep; ids count up from 1 and are never used again.

    Velocities are relative to the target frame, so a vehicle's own motion is in them.
    """

    def __init__(self, settings: TrackerSettings) -> None:
        self.settings = settings
        self._tracks = _Tracks()
        self._next_id = 1

    def update(self, detections: tuple[Detection3D, ...], stamp_ns: int) -> tuple[Detection3D, ...]:
        """Give each detection the id and velocity of its track, in the order they came.

        `stamp_ns` must not go backwards; call `reset` when time has jumped.
        """
        tracks = self._tracks
        tracks.keep(tracks.seen_ns >= stamp_ns - int(self.settings.max_age * 1e9))
        tracks.predict(stamp_ns, self.settings.acceleration)
        measured = _Measured(detections)
        seen, known = self._assign(measured)
        tracks.correct(known, measured, seen)
        unseen = np.setdiff1d(np.arange(len(detections)), seen)
        row_of = np.zeros(len(detections), np.intp)
        row_of[seen] = known
        row_of[unseen] = len(tracks) + np.arange(len(unseen))
        tracks.begin(self._next_id + np.arange(len(unseen)), measured, unseen)
        self._next_id += len(unseen)
        velocities = np.pad(tracks.states[row_of, 2:], ((0, 0), (0, 1)))
        return tuple(
            detection.tracked(int(tracks.ids[row]), velocity)
            for detection, row, velocity in zip(detections, row_of, velocities, strict=True)
        )

    def reset(self) -> None:
        """Forget all tracks and start again at id 1, as the same recording played again must."""
        self._tracks = _Tracks()
        self._next_id = 1

    def _assign(self, measured: _Measured) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The rows of the detections that continue a track, and of their tracks."""
        cost = self._tracks.distances(measured)
        rows, columns = linear_sum_assignment(np.minimum(cost, GATE * 10))
        is_near = cost[rows, columns] <= GATE
        return rows[is_near], columns[is_near]
