"""Fills the road: vehicles in their lanes, parked cars, cyclists at the edge, people on foot."""

from __future__ import annotations

import numpy as np

from avperception.scenes.actors import Actor, make_actor
from avperception.scenes.motion import Motion
from avperception.scenes.occupancy import SIGHT, Occupancy
from avperception.scenes.road import Road
from avperception.scenes.solid import Solid

EGO_SIZE = (4.6, 1.86, 1.6)
"""Length, width and height of the ego vehicle, metres; base_link is on the ground below its middle."""

_LARGEST = {
    "car": (4.9, 1.95, 2.0),
    "truck": (7.4, 2.5, 3.4),
    "cyclist": (1.75, 0.6, 1.9),
    "pedestrian": (0.9, 0.75, 2.0),
}
_BEHIND = 60.0  # m behind the ego vehicle's start that are filled
_TRIES = 3  # places on the pavement tried for somebody
_HEAD_HEIGHT = 2.1  # m: what is above it is in nobody's way


class Traffic:
    """Adds actors one after the other; one that would touch another at any time is left out."""

    def __init__(
        self, road: Road, ego: Motion, duration: float, obstacles: list[Solid], rng: np.random.Generator
    ) -> None:
        self._road, self._ego, self._duration, self._rng = road, ego, duration, rng
        self._occupancy = Occupancy(road, ego, duration)
        self.actors: list[Actor] = []
        self._occupancy.take(ego, EGO_SIZE)
        for solid in obstacles:
            low_down = solid.shape.points[solid.shape.points[:, 2] < _HEAD_HEIGHT]
            self._occupancy.stand(solid.x, solid.y, float(np.abs(low_down[:, :2]).max()))

    def fill(self) -> list[Actor]:
        """Return all actors, numbered from 1."""
        density = self._rng.uniform(0.7, 1.5)
        self._fill_lanes(density)
        self._fill_parking()
        self._fill_edges(density)
        self._fill_pavements(density)
        self._fill_crossings(density)
        return self.actors

    @property
    def _reach(self) -> tuple[float, float]:
        """First and last s that the ego vehicle sees during the whole scene."""
        return self._ego.s0 - _BEHIND, self._ego.s0 + self._ego.v_s * self._duration + SIGHT

    def _fill_lanes(self, density: float) -> None:
        own = round(-self._ego.d0 / self._road.lane_width + 0.5)
        for lane in [*range(1, self._road.lanes + 1), *range(-self._road.lanes, 0)]:
            along = 1.0 if lane > 0 else -1.0
            speed = self._ego.v_s * (1.0 if lane == own else self._rng.uniform(0.85, 1.2))
            gained = (along * speed - self._ego.v_s) * self._duration  # on the ego vehicle
            low = self._ego.s0 - _BEHIND - max(gained, 0.0) + self._rng.uniform(0, 20)
            high = self._ego.s0 + SIGHT - min(gained, 0.0)
            s = low
            while s < high:
                gap_to_ego = abs(s - self._ego.s0)
                if lane != own or gap_to_ego > 15.0:
                    self._add_driver(s, self._road.lane_centre(lane), along * speed)
                s += 13.0 + self._rng.exponential(15.0 / density)

    def _add_driver(self, s: float, d: float, speed: float) -> None:
        rng = self._rng
        motion = Motion(
            s, d + rng.normal(0, 0.12), v_s=speed, heading=0.0 if speed > 0 else np.pi,
            sway_s=rng.uniform(0, 1.2), sway_d=rng.uniform(0, 0.15), sway_rate=rng.uniform(0.3, 0.8),
            phase=rng.uniform(0, 6.28), steers=True,
        )  # fmt: skip
        self._add("truck" if rng.random() < 0.3 else "car", motion)

    def _fill_parking(self) -> None:
        rng, road = self._rng, self._road
        if not road.parking:
            return
        taken = rng.uniform(0.25, 0.75)
        for side in (-1.0, 1.0):
            s = self._reach[0]
            while s < self._reach[1]:
                is_truck = rng.random() < 0.18
                s += 4.2 if is_truck else 3.0
                if rng.random() < taken:
                    heading = (0.0 if side < 0 else np.pi) + rng.normal(0, 0.02)
                    heading += np.pi if rng.random() < 0.08 else 0.0
                    d = side * (road.half_road - 0.5 * road.parking + rng.normal(0, 0.05))
                    self._add("truck" if is_truck else "car", Motion(s, d, heading=heading), lamps=False)
                s += rng.uniform(3.0, 4.2) + (1.2 if is_truck else 0.0)

    def _fill_edges(self, density: float) -> None:
        """Cyclists between the outer lane and the kerb."""
        rng, road = self._rng, self._road
        for side in (-1.0, 1.0):
            s = self._reach[0]
            pace = rng.uniform(3.2, 6.0)  # nobody overtakes: there is no room
            while s < self._reach[1] + (pace * self._duration if side > 0 else 0.0):
                s += 6.0 + rng.exponential(17.0 / density)
                d = side * (road.lanes * road.lane_width + 0.5 * road.shoulder)
                motion = Motion(
                    s, d, v_s=-side * pace * rng.uniform(0.97, 1.03), heading=0.0 if side < 0 else np.pi,
                    sway_d=rng.uniform(0, 0.12), sway_rate=rng.uniform(0.6, 1.4),
                    phase=rng.uniform(0, 6.28), steers=True,
                )  # fmt: skip
                self._add("cyclist", motion)

    def _fill_pavements(self, density: float) -> None:
        rng, road = self._rng, self._road
        inner = road.half_road + (0.95 if road.pavement else 0.6)
        outer = max(road.half_paved - 0.5, inner + (0.0 if road.pavement else 2.0))
        mean_gap = (9.0 if road.urban else 28.0) / density
        for side in (-1.0, 1.0):
            s = self._reach[0]
            while s < self._reach[1]:
                s += rng.exponential(mean_gap)
                for _ in range(1 if rng.random() < 0.75 else int(rng.integers(2, 4))):
                    for _ in range(_TRIES):
                        place = s + rng.normal(0, 0.7), side * rng.uniform(inner, outer)
                        if self._add("pedestrian", self._stroll(*place)):
                            break

    def _stroll(self, s: float, d: float) -> Motion:
        rng = self._rng
        if rng.random() < 0.22:
            return Motion(s, d, heading=rng.uniform(-np.pi, np.pi))
        speed = rng.normal(1.35, 0.2) * rng.choice([-1.0, 1.0])
        return Motion(s, d, v_s=speed, heading=0.0 if speed > 0 else np.pi, phase=rng.uniform(0, 6.28))

    def _fill_crossings(self, density: float) -> None:
        """People who wait at the kerb and cross when no vehicle comes."""
        rng, road = self._rng, self._road
        limit = road.half_paved - 0.6 if road.pavement else road.half_road + 0.6
        tries = int((self._reach[1] - self._ego.s0) / 7.0 * density)
        for _ in range(tries):
            side = rng.choice([-1.0, 1.0])
            speed = -side * rng.uniform(1.1, 1.9)
            start = rng.uniform(-4.0, self._duration)
            s = rng.uniform(self._ego.s0 + 8.0, self._reach[1] - 40.0)
            motion = Motion(
                s, side * limit - speed * start, v_d=speed, heading=float(np.sign(speed)) * np.pi / 2,
                phase=rng.uniform(0, 6.28), d_limit=limit,
            )  # fmt: skip
            self._add("pedestrian", motion)

    def _add(self, class_name: str, motion: Motion, *, lamps: bool = True) -> bool:
        seed = int(self._rng.integers(1 << 32))
        if not self._occupancy.take(motion, _LARGEST[class_name]):
            return False
        rng = np.random.default_rng(seed)
        self.actors.append(make_actor(class_name, len(self.actors) + 1, motion, rng, lamps=lamps))
        return True
