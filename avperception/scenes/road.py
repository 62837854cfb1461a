"""The cross-section of the road: lanes, lane lines, parking bays, kerbs and pavements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avperception.scenes.centre_line import CentreLine
from avperception.types import Bool, Float64

KERB_HEIGHT = 0.12
"""Metres from the road up to the pavement."""

WHITE = (222.0, 224.0, 222.0)
YELLOW = (60.0, 180.0, 222.0)


@dataclass(frozen=True)
class LaneLine:
    """A painted line `d` metres left of the centre line, `width` metres wide.

    Dashes are `dash` metres with `gap` metres between; a solid line has no gap. `wear` is the share
    of the paint that is gone, 0-1.
    """

    d: float
    width: float
    dash: float
    gap: float
    colour: tuple[float, float, float]
    wear: float

    @property
    def is_solid(self) -> bool:
        """Whether the line has no gaps."""
        return self.gap == 0.0


@dataclass(frozen=True)
class Tunnel:
    """A tunnel over the road from `s0` to `s1` metres, `half_width` to each wall and `height` inside."""

    s0: float
    s1: float
    half_width: float
    height: float


@dataclass(frozen=True)
class Road:
    """A road of `lanes` per direction, driven on the right; d is positive to the left of the centre line.

    `half_road` is the distance to the kerb (or verge), `half_paved` to the outer edge of the pavement;
    they are equal where there is none. `parking` is the width of the parking bays (0 without).
    """

    line: CentreLine
    lanes: int
    lane_width: float
    shoulder: float
    parking: float
    pavement: float
    lane_lines: tuple[LaneLine, ...]
    urban: bool
    tunnel: Tunnel | None

    @property
    def half_road(self) -> float:
        """Metres from the centre line to the kerb."""
        return self.lanes * self.lane_width + self.shoulder + self.parking

    @property
    def half_paved(self) -> float:
        """Metres from the centre line to the outer edge of the pavement."""
        return self.half_road + self.pavement

    @property
    def verge_height(self) -> float:
        """Height of everything beyond the kerb over the road, metres."""
        return KERB_HEIGHT if self.pavement > 0 else 0.0

    def lane_centre(self, lane: int) -> float:
        """The d of a lane: 1 is the first right of the centre line, -1 the first left of it, and so on."""
        return -np.sign(lane) * (abs(lane) - 0.5) * self.lane_width

    def height(self, d: Float64) -> Float64:
        """Height of the ground (m) at `d` (any shape)."""
        return np.where(np.abs(d) > self.half_road, self.verge_height, 0.0)

    def on_line(self, s: Float64, d: Float64) -> Bool:
        """Whether the points at `s`, `d` (same shape) lie on the paint of a lane line."""
        painted = np.zeros(np.shape(s), bool)
        for line in self.lane_lines:
            across = np.abs(d - line.d) <= 0.5 * line.width
            painted |= across if line.is_solid else across & (np.mod(s, line.dash + line.gap) < line.dash)
        return painted


def make_road(line: CentreLine, rng: np.random.Generator, tunnel_at: float | None) -> Road:
    """A road of random cross-section; with `tunnel_at` (s, metres) it runs into a tunnel there."""
    urban = bool(rng.random() < 0.7)
    lanes = int(rng.choice([1, 2], p=[0.55, 0.45]))
    lane_width = rng.uniform(3.1, 3.6)
    shoulder = rng.uniform(1.0, 1.7)
    parking = rng.uniform(2.2, 2.5) if urban and rng.random() < 0.65 else 0.0
    pavement = rng.uniform(2.6, 4.0) if urban else 0.0
    tunnel = None
    if tunnel_at is not None:
        half = lanes * lane_width + shoulder + parking + pavement + 0.4
        tunnel = Tunnel(tunnel_at, tunnel_at + rng.uniform(110.0, 160.0), half, rng.uniform(5.2, 6.2))
    return Road(
        line, lanes, lane_width, shoulder, parking, pavement,
        _lane_lines(lanes, lane_width, rng), urban, tunnel,
    )  # fmt: skip


def _lane_lines(lanes: int, lane_width: float, rng: np.random.Generator) -> tuple[LaneLine, ...]:
    width = rng.uniform(0.13, 0.20)
    wear = rng.uniform(0.0, 0.45)
    dash, gap = (float(v) for v in rng.choice([[3.0, 6.0], [3.0, 4.5], [4.0, 8.0], [6.0, 6.0]]))
    middle = YELLOW if rng.random() < 0.3 else WHITE
    lines = []
    if rng.random() < 0.4:
        lines += [LaneLine(side * (0.5 * width + 0.06), width, dash, 0.0, middle, wear) for side in (1, -1)]
    else:
        solid = rng.random() < 0.25
        lines.append(LaneLine(0.0, width, dash, 0.0 if solid else gap, middle, wear))
    for side in (1, -1):
        lines += [LaneLine(side * k * lane_width, width, dash, gap, WHITE, wear) for k in range(1, lanes)]
        lines.append(LaneLine(side * lanes * lane_width, width, dash, 0.0, WHITE, wear))
    return tuple(sorted(lines, key=lambda line: -line.d))
