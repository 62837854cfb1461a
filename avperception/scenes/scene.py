"""A scene: a seeded world under a condition, seen by a rig; every frame is a function of the time alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from avperception.errors import ConfigurationError
from avperception.scenes.conditions import CONDITIONS, MIXED, Condition, condition_named
from avperception.scenes.ranging.sweep import Sweep, SweepMaker
from avperception.scenes.render.camera import CameraRenderer, Moment, Picture, Surroundings, make_moment
from avperception.scenes.render.ground import Surfaces, make_surfaces
from avperception.scenes.render.lighting import sun_vector
from avperception.scenes.render.sky import make_panorama
from avperception.scenes.rig import Rig, check_rig, default_rig
from avperception.scenes.solid import Solid
from avperception.scenes.truth import BoxTruth, LaneTruth, ObjectTruth, box_truth, lane_truth, object_truth
from avperception.scenes.world import ROADS, World, make_world
from avperception.types import Float64, UInt8

_TUNNEL = "tunnel"


@dataclass(frozen=True)
class Frame:
    """All sensors at one stamp, `time` seconds from the start, with the truth.

    By camera: `images` (height, width, 3) BGR, `segmentations` (height, width) class ids, 2D `boxes`.
    `sweep` is None without a lidar; `objects` and `lanes` are in base_link.
    """

    time: float
    condition: str
    images: dict[str, UInt8]
    segmentations: dict[str, UInt8]
    boxes: dict[str, list[BoxTruth]]
    sweep: Sweep | None
    objects: list[ObjectTruth]
    lanes: list[LaneTruth]


@dataclass(frozen=True)
class Scene:
    """The world of `seed` for `duration` seconds on a `road` (one of ROADS) under a `condition`.

    The condition is a name in CONDITIONS, or `mixed`: all of them in turn, each for an equal part of
    the duration. `rig` are the sensors; cameras and lidar give `rate` frames a second. Two scenes made
    alike give the same frames, bit for bit. Raises ConfigurationError for an unknown name, a duration
    that is not positive, or a sensor that cannot exist.
    """

    seed: int
    condition: str = "day"
    road: str = "straight"
    duration: float = 10.0
    rig: Rig = field(default_factory=default_rig)
    rate: float = 10.0

    def __post_init__(self) -> None:
        if self.condition != MIXED:
            condition_named(self.condition)
        if self.road not in ROADS:
            raise ConfigurationError(f"road '{self.road}' does not exist: choose one of {', '.join(ROADS)}")
        if not 0 < self.duration <= 3600:
            raise ConfigurationError(
                f"a scene of {self.duration:g} seconds is not possible: give more than 0, up to 3600"
            )
        if not 0.1 <= self.rate <= 100:
            raise ConfigurationError(f"a rate of {self.rate:g} Hz is not possible: give 0.1 to 100")
        if self.seed < 0:
            raise ConfigurationError(f"a seed of {self.seed} is not possible: give 0 or more")
        check_rig(self.rig)

    @cached_property
    def schedule(self) -> tuple[str, ...]:
        """Names of the conditions that the scene goes through, each for an equal part of the duration."""
        return tuple(CONDITIONS) if self.condition == MIXED else (self.condition,)

    def condition_at(self, t: float) -> str:
        """Name of the condition at `t` seconds."""
        part = int(t / self.duration * len(self.schedule))
        return self.schedule[min(max(part, 0), len(self.schedule) - 1)]

    @cached_property
    def world(self) -> World:
        """The road and everything on it."""
        tunnel_time = None
        if _TUNNEL in self.schedule:
            tunnel_time = self.duration * (self.schedule.index(_TUNNEL) + 0.5) / len(self.schedule)
        lit = self.condition in ("night", "dusk")
        return make_world(self.seed, self.road, self.duration, lit_windows=lit, tunnel_time=tunnel_time)

    def solids(self, t: float) -> list[Solid]:
        """Everything within sight at `t` seconds."""
        return self.world.solids(t)

    def T_world_base(self, t: float) -> Float64:
        """Pose of base_link in the world (and odom) frame at `t` seconds, (4, 4)."""
        return self.world.T_world_base(t)

    def moment(self, t: float) -> Moment:
        """What all cameras share at `t` seconds."""
        around = self._surroundings[self.condition_at(t)]
        return make_moment(around, self.solids(t), self.world.ego_s(t), self.T_world_base(t))

    def picture(self, camera: str, t: float, moment: Moment | None = None) -> Picture:
        """What one camera sees at `t` seconds; `moment` saves working it out again."""
        number = [c.name for c in self.rig.cameras].index(self.rig.camera(camera).name)
        noise, drops = self._rng(4, number, _tick(t)), self._rng(5, number)
        return self._renderers[camera].render(moment or self.moment(t), noise, drops)

    def boxes(self, camera: str, picture: Picture) -> list[BoxTruth]:
        """2D boxes of the actors in a picture of that camera."""
        return box_truth(picture, self._renderers[camera].lens, self.world.cast)

    def sweep(self, t: float, solids: list[Solid] | None = None) -> Sweep:
        """The turn of the lidar whose middle is at `t` seconds; ConfigurationError without a lidar."""
        if self._sweep_maker is None:
            raise ConfigurationError("the rig has no lidar: give it one, or ask for pictures only")
        placed = self.solids(t) if solids is None else solids
        condition = self._surroundings[self.condition_at(t)].condition
        return self._sweep_maker.sweep(placed, t, condition, self._rng(8, _tick(t)))

    def objects(
        self, t: float, sweep: Sweep | None = None, solids: list[Solid] | None = None
    ) -> list[ObjectTruth]:
        """3D boxes of the actors within sight at `t` seconds, with a `sweep` its points on each."""
        found = object_truth(
            self.solids(t) if solids is None else solids, self.world.cast, self.T_world_base(t)
        )
        if sweep is None:
            return found
        counts = np.bincount(sweep.track_id, minlength=len(self.world.cast.actors) + 1)
        return [replace(truth, lidar_points=int(counts[truth.track_id])) for truth in found]

    def lanes(self, t: float) -> list[LaneTruth]:
        """Lane lines about the ego vehicle at `t` seconds."""
        return lane_truth(self.world.road, self.world.ego_s(t), self.T_world_base(t))

    def frame(self, t: float) -> Frame:
        """Everything the sensors give at `t` seconds, and the truth."""
        moment = self.moment(t)
        solids = list(moment.solids)
        sweep = None if self._sweep_maker is None else self.sweep(t, solids)
        pictures = {camera.name: self.picture(camera.name, t, moment) for camera in self.rig.cameras}
        return Frame(
            time=t,
            condition=self.condition_at(t),
            images={name: picture.image for name, picture in pictures.items()},
            segmentations={name: picture.segmentation for name, picture in pictures.items()},
            boxes={name: self.boxes(name, picture) for name, picture in pictures.items()},
            sweep=sweep,
            objects=self.objects(t, sweep, solids),
            lanes=self.lanes(t),
        )

    @cached_property
    def _sweep_maker(self) -> SweepMaker | None:
        if self.rig.lidar is None:
            return None
        return SweepMaker(self.rig.lidar, self.world.road, self.world.ego, 1.0 / self.rate)

    @cached_property
    def _renderers(self) -> dict[str, CameraRenderer]:
        return {c.name: CameraRenderer(c, self.world.road, self._surfaces) for c in self.rig.cameras}

    @cached_property
    def _surfaces(self) -> Surfaces:
        wet = 0.7 if self.condition == "rain" else 0.0
        return make_surfaces(self.world.road, self._rng(6), wet)

    @cached_property
    def _surroundings(self) -> dict[str, Surroundings]:
        return {name: self._surrounding(name) for name in self.schedule}

    def _surrounding(self, name: str) -> Surroundings:
        rng = self._rng(7, list(CONDITIONS).index(name))
        condition: Condition = CONDITIONS[name].varied(rng)
        sun = sun_vector(condition.sun_height, rng.uniform(-np.pi, np.pi))
        panorama: UInt8 = make_panorama(condition, sun, rng)
        return Surroundings(self.world.road, self._surfaces, panorama, condition, sun)

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *stream])


def _tick(t: float) -> int:
    """Microseconds since the start: what numbers the noise of a frame."""
    return round(t * 1e6) + (1 << 40)
