"""How something moves along and across the road: the only source of every pose and velocity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from avperception.scenes.centre_line import CentreLine
from avperception.types import Float64

_DIFFERENCE = 1e-3  # s, half the span of the central difference behind velocities


@dataclass(frozen=True)
class Pose2D:
    """World x, y (m) and yaw (rad) at one or many times; all of one shape, with s and d on the road."""

    x: Float64
    y: Float64
    yaw: Float64
    s: Float64
    d: Float64


@dataclass(frozen=True)
class Motion:
    """Constant speeds `v_s` along and `v_d` across the road (m/s), swaying sinusoidally about them.

    s(t) = s0 + v_s t + sway_s sin(w t + phase), d(t) = d0 + v_d t + sway_d sin(w t + phase) held within
    `d_limit`; w is `sway_rate` (rad/s). The yaw is the road's heading plus `heading`; what drives
    (`steers`) turns into its direction of motion as well. Every field may be an array (N,): N motions.
    """

    s0: float
    d0: float
    v_s: float = 0.0
    v_d: float = 0.0
    heading: float = 0.0
    sway_s: float = 0.0
    sway_d: float = 0.0
    sway_rate: float = 0.0
    phase: float = 0.0
    d_limit: float = np.inf
    steers: bool = False

    def pose(self, line: CentreLine, t: ArrayLike) -> Pose2D:
        """Where it is at `t` seconds, of any shape that goes with the fields'."""
        time = np.asarray(t, np.float64)
        angle = self.sway_rate * time + self.phase
        s = self.s0 + self.v_s * time + self.sway_s * np.sin(angle)
        d = np.clip(self.d0 + self.v_d * time + self.sway_d * np.sin(angle), -self.d_limit, self.d_limit)
        x, y, yaw = line.pose(s, d)
        across = self.sway_d * self.sway_rate * np.cos(angle)
        drift = np.arctan2(across * np.sign(self.v_s), np.abs(self.v_s))
        return Pose2D(x, y, yaw + self.heading + np.where(self.steers, drift, 0.0), s, d)

    def velocity(self, line: CentreLine, t: float) -> tuple[Float64, Float64, Float64]:
        """World velocity x, y (m/s) and yaw rate (rad/s) at `t` seconds, by central difference."""
        before, after = self.pose(line, t - _DIFFERENCE), self.pose(line, t + _DIFFERENCE)
        span = 2 * _DIFFERENCE
        return (after.x - before.x) / span, (after.y - before.y) / span, (after.yaw - before.yaw) / span

    def travelled(self, t: float) -> Float64:
        """Metres gone on the road since t = 0."""
        start = np.clip(self.d0, -np.asarray(self.d_limit), self.d_limit)
        end = np.clip(self.d0 + self.v_d * t, -np.asarray(self.d_limit), self.d_limit)
        return np.asarray(np.abs(np.multiply(self.v_s, t)) + np.abs(end - start))


def stacked(motions: Sequence[Motion]) -> Motion:
    """Many motions as one whose fields are arrays (N,)."""
    columns: dict[str, Any] = {
        field.name: np.array([getattr(motion, field.name) for motion in motions]) for field in fields(Motion)
    }
    return Motion(**columns)
