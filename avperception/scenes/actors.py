"""Everything that is labelled: cars, trucks, cyclists and pedestrians, each with its size and motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from avperception.scenes.motion import Motion, stacked
from avperception.scenes.road import Road
from avperception.scenes.shapes.car import make_car
from avperception.scenes.shapes.cyclist import Cyclist
from avperception.scenes.shapes.pedestrian import Pedestrian
from avperception.scenes.shapes.shape import Shape
from avperception.scenes.shapes.truck import make_truck
from avperception.scenes.solid import PERSON, VEHICLE, Solid
from avperception.types import Float64

OBJECT_CLASSES = ("car", "truck", "cyclist", "pedestrian")
"""Names of the labelled classes, by id."""

_KERB_RAMP = 0.15  # m to each side of the kerb over which somebody who crosses steps up


class Looks(Protocol):
    """Form and size of an actor."""

    @property
    def size(self) -> tuple[float, float, float]:
        """Length, width and height of its box, metres."""
        ...

    @property
    def postures(self) -> int:
        """How many postures it goes through."""
        ...

    def shape(self, posture: int) -> Shape:
        """Its form in one posture."""
        ...


class Rigid:
    """The looks of what has one posture only."""

    postures = 1

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        length, width, _ = shape.upper - shape.lower
        self.size = (float(length), float(width), float(shape.upper[2]))

    def shape(self, posture: int) -> Shape:
        """Its form."""
        return self._shape


@dataclass(frozen=True)
class Actor:
    """One labelled thing, which goes through its postures every `cycle` metres."""

    track_id: int
    class_name: str
    looks: Looks
    cycle: float
    motion: Motion
    lamps: bool = True

    @property
    def size(self) -> tuple[float, float, float]:
        """Length, width and height of its box, metres."""
        return self.looks.size

    @property
    def mask_class(self) -> int:
        """Class id in segmentation masks."""
        return VEHICLE if self.class_name in ("car", "truck") else PERSON

    def shape_after(self, travelled: float) -> Shape:
        """Its form when it has gone so many metres."""
        step = travelled / self.cycle + self.motion.phase
        return self.looks.shape(int(step * self.looks.postures) % self.looks.postures)


def make_actor(
    class_name: str, track_id: int, motion: Motion, rng: np.random.Generator, *, lamps: bool = True
) -> Actor:
    """An actor of one of OBJECT_CLASSES with looks and size drawn from `rng`."""
    looks: Looks
    if class_name in ("car", "truck"):
        looks, cycle = Rigid(make_car(rng) if class_name == "car" else make_truck(rng)), 1.0
    elif class_name == "cyclist":
        looks, cycle = Cyclist(rng), 5.0
    else:
        walker = Pedestrian(rng, walking=motion.v_s != 0.0 or motion.v_d != 0.0)
        looks, cycle = walker, 0.83 * walker.height
    return Actor(track_id, class_name, looks, cycle, motion, lamps)


class Cast:
    """All actors of a scene; places them on the road at any time."""

    def __init__(self, actors: Sequence[Actor], road: Road) -> None:
        self.actors, self._road = tuple(actors), road
        self._motion = stacked([actor.motion for actor in actors])

    def at(self, t: float, s: float, sight: float) -> list[Solid]:
        """The actors within `sight` metres of `s` along the road at `t` seconds."""
        if not self.actors:
            return []
        pose = self._motion.pose(self._road.line, t)
        vx, vy, yaw_rate = self._motion.velocity(self._road.line, t)
        travelled = self._motion.travelled(t)
        height = _ground_height(self._road, pose.d)
        return [
            Solid(
                shape=self.actors[i].shape_after(travelled[i]),
                x=float(pose.x[i]),
                y=float(pose.y[i]),
                z=float(height[i]),
                yaw=float(pose.yaw[i]),
                s=float(pose.s[i]),
                mask_class=self.actors[i].mask_class,
                track_id=self.actors[i].track_id,
                velocity=(float(vx[i]), float(vy[i])),
                yaw_rate=float(yaw_rate[i]),
                lamps=self.actors[i].lamps,
            )
            for i in np.flatnonzero(np.abs(pose.s - s) < sight)
        ]


def _ground_height(road: Road, d: Float64) -> Float64:
    ramp = (np.abs(d) - road.half_road + _KERB_RAMP) / (2 * _KERB_RAMP)
    return np.asarray(road.verge_height * np.clip(ramp, 0.0, 1.0))
