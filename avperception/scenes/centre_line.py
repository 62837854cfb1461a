"""The road's centre line: straights, clothoids and arcs, with coordinates along (s) and across (d) it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from avperception.types import Float64

STEP = 0.25
"""Metres between two samples; the chord then lies within 0.2 mm of an arc of 70 m radius."""

_MAX_HEADING = 0.9  # rad: the road turns back before it can meet itself
_TURN_BACK = 0.3  # rad beyond which the next bend leads back


@dataclass(frozen=True)
class CentreLine:
    """Samples every STEP metres from `s0`: positions `xy` (N, 2) in the world frame, `heading` (N,) rad.

    The world frame is metric, z up, with the origin on the centre line at s = 0, x along the road there.
    """

    s0: float
    xy: Float64
    heading: Float64

    @property
    def s1(self) -> float:
        """The last s, metres."""
        return self.s0 + STEP * (len(self.xy) - 1)

    def pose(self, s: ArrayLike, d: ArrayLike) -> tuple[Float64, Float64, Float64]:
        """World x, y (m) and heading (rad) `d` metres to the left of the centre line at `s`."""
        index = np.clip((np.asarray(s, np.float64) - self.s0) / STEP, 0, len(self.xy) - 1.001)
        low = index.astype(np.intp)
        part = index - low
        heading = (1 - part) * self.heading[low] + part * self.heading[low + 1]
        x = (1 - part) * self.xy[low, 0] + part * self.xy[low + 1, 0]
        y = (1 - part) * self.xy[low, 1] + part * self.xy[low + 1, 1]
        offset = np.asarray(d, np.float64)
        return x - offset * np.sin(heading), y + offset * np.cos(heading), heading


def straight_line(s0: float, s1: float) -> CentreLine:
    """A straight road from `s0` to `s1`, metres."""
    return _integrate(s0, np.zeros(_count(s0, s1)))


def curved_line(s0: float, s1: float, rng: np.random.Generator) -> CentreLine:
    """A winding road: straight, clothoid, arc (radius 70-180 m), clothoid, and again."""
    curvature: list[NDArray[np.float64]] = []
    count, heading = _count(s0, s1), 0.0
    curvature.append(np.zeros(int((20 - s0) / STEP)))
    while sum(map(len, curvature)) < count:
        turn = float(rng.choice([-1.0, 1.0]))
        turn = float(-np.sign(heading)) if abs(heading) > _TURN_BACK else turn
        peak = turn / rng.uniform(70.0, 180.0)
        ramp, arc = rng.uniform(20.0, 35.0), rng.uniform(20.0, 90.0)
        arc = max(min(arc, (_MAX_HEADING - turn * heading) / abs(peak) - ramp), 1.0)
        rise = np.linspace(0.0, peak, int(ramp / STEP), endpoint=False)
        bend = [rise, np.full(int(arc / STEP), peak), rise[::-1], np.zeros(int(rng.uniform(5, 30) / STEP))]
        heading += STEP * float(np.concatenate(bend).sum())
        curvature += bend
    return _integrate(s0, np.concatenate(curvature)[:count])


def _count(s0: float, s1: float) -> int:
    return int(np.ceil((s1 - s0) / STEP)) + 1


def _integrate(s0: float, curvature: NDArray[np.float64]) -> CentreLine:
    """Positions from curvature: heading and position are its first and second integrals (midpoint rule)."""
    heading = np.concatenate([[0.0], np.cumsum(STEP * curvature[:-1])])
    origin = round(-s0 / STEP)
    heading = heading - heading[origin]
    middle = 0.5 * (heading[:-1] + heading[1:])
    steps = STEP * np.stack([np.cos(middle), np.sin(middle)], axis=1)
    xy = np.concatenate([[[0.0, 0.0]], np.cumsum(steps, axis=0)])
    return CentreLine(s0, xy - xy[origin], heading)
