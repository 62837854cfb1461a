"""One seeded world: the road, everything on and beside it, and the ego vehicle's way through it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from avperception.errors import ConfigurationError
from avperception.scenes.actors import Cast
from avperception.scenes.background import Background
from avperception.scenes.centre_line import curved_line, straight_line
from avperception.scenes.motion import Motion
from avperception.scenes.occupancy import SIGHT
from avperception.scenes.road import Road, make_road
from avperception.scenes.solid import Solid
from avperception.scenes.traffic import Traffic
from avperception.types import Float64

ROADS = ("straight", "curved")
"""Kinds of road, by name."""

_BEHIND = 150.0  # m of road behind the ego vehicle's start
_LINED_BEHIND = 80.0  # m of it with something beside it
_FASTEST = 18.0  # m/s, of any vehicle


@dataclass(frozen=True)
class World:
    """The `road` of a `seed` and the `ego` motion on it for `duration` s; times are seconds from the start.

    What is on and beside the road is made when it is first asked for.
    """

    seed: int
    road: Road
    ego: Motion
    duration: float
    lit_windows: bool

    @property
    def cast(self) -> Cast:
        """All actors."""
        return self._contents[0]

    @property
    def static(self) -> tuple[Solid, ...]:
        """Everything else that stands on or beside the road."""
        return self._contents[1]

    @cached_property
    def _contents(self) -> tuple[Cast, tuple[Solid, ...]]:
        end = self.ego_s(self.duration) + SIGHT
        beside = np.random.default_rng([self.seed, 2])
        background = Background(self.road, -_LINED_BEHIND, end, lit=self.lit_windows, rng=beside)
        furniture = background.furniture()
        traffic = Traffic(
            self.road, self.ego, self.duration, furniture, np.random.default_rng([self.seed, 3])
        )
        return Cast(traffic.fill(), self.road), (*furniture, *background.scenery())

    def T_world_base(self, t: float) -> Float64:
        """Pose (4, 4) in the world of base_link, on the ground below the ego vehicle's middle."""
        pose = self.ego.pose(self.road.line, t)
        c, s = np.cos(float(pose.yaw)), np.sin(float(pose.yaw))
        T = np.eye(4)
        T[:2, :2] = [[c, -s], [s, c]]
        T[:2, 3] = float(pose.x), float(pose.y)
        return T

    def ego_s(self, t: float) -> float:
        """How far along the road the ego vehicle is at `t`, metres."""
        return self.ego.s0 + self.ego.v_s * t

    def solids(self, t: float) -> list[Solid]:
        """Everything within sight of the ego vehicle at `t`, the actors first."""
        s = self.ego_s(t)
        return self.cast.at(t, s, SIGHT) + [solid for solid in self.static if abs(solid.s - s) < SIGHT]


@lru_cache(maxsize=4)  # the same road is looked at in several conditions
def make_world(
    seed: int, road: str, duration: float, *, lit_windows: bool, tunnel_time: float | None
) -> World:
    """Make the world of a `seed` for `duration` seconds.

    `road` is one of ROADS; `tunnel_time` is when (s) the ego vehicle enters a tunnel, None for none.
    Raises ConfigurationError for another road.
    """
    if road not in ROADS:
        raise ConfigurationError(f"road '{road}' does not exist: choose one of {', '.join(ROADS)}")
    rng = np.random.default_rng([seed, 1])
    speed = rng.uniform(7.0, 13.0)
    s1 = speed * duration + 2 * SIGHT + _FASTEST * duration
    line = straight_line(-_BEHIND, s1) if road == "straight" else curved_line(-_BEHIND, s1, rng)
    made = make_road(line, rng, None if tunnel_time is None else speed * tunnel_time)
    lane = int(rng.integers(1, made.lanes + 1))
    ego = Motion(
        0.0, made.lane_centre(lane), v_s=speed, sway_d=rng.uniform(0.02, 0.15),
        sway_rate=rng.uniform(0.3, 0.6), phase=rng.uniform(0, 6.28), steers=True,
    )  # fmt: skip
    return World(seed, made, ego, duration, lit_windows)
