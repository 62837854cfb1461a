from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from avperception.errors import ConfigurationError
from avperception.scenes import CONDITIONS, MIXED, Rig, Scene

STAMP = 2.0


@pytest.fixture(scope="module")
def scenes(small_rig: Rig) -> dict[str, Scene]:
    return {name: Scene(11, name, "straight", rig=small_rig) for name in CONDITIONS}


@pytest.fixture(scope="module")
def images(scenes: dict[str, Scene]) -> dict[str, np.ndarray]:
    return {name: scene.picture("front", STAMP).image.astype(np.float64) for name, scene in scenes.items()}


def test_it_gets_darker_towards_night(images: dict[str, np.ndarray]) -> None:
    bright = {name: image.mean() for name, image in images.items()}
    assert bright["night"] < 0.6 * bright["dusk"] < 0.6 * bright["day"]


def test_fog_takes_the_contrast(images: dict[str, np.ndarray]) -> None:
    far = {name: image[60:86].std() for name, image in images.items()}  # rows above the horizon
    assert far["fog"] < 0.5 * far["day"]


def test_noise_grows_in_the_dark(scenes: dict[str, Scene]) -> None:
    """The same moment with other noise: what differs is noise."""
    spread = {}
    for name in ("day", "night"):
        scene = scenes[name]
        first = scene.picture("front", STAMP).image.astype(np.float64)
        second = scene._renderers["front"].render(
            scene.moment(STAMP), np.random.default_rng(1), np.random.default_rng(2)
        )
        spread[name] = np.std(first - second.image)
    assert spread["night"] > 2 * spread["day"]


def test_the_truth_is_the_same_in_all_weather(scenes: dict[str, Scene]) -> None:
    day, fog = (scenes[name].objects(STAMP) for name in ("day", "fog"))
    assert [truth.track_id for truth in day] == [truth.track_id for truth in fog]
    for a, b in zip(day, fog, strict=True):
        np.testing.assert_array_equal(a.center, b.center)


def test_lidar_returns_change_with_the_weather(scenes: dict[str, Scene]) -> None:
    sweeps = {name: scene.sweep(STAMP) for name, scene in scenes.items()}
    reach = {name: np.linalg.norm(sweep.points_lidar, axis=1) for name, sweep in sweeps.items()}
    far = {name: int((r > 45).sum()) for name, r in reach.items()}
    assert far["fog"] < 0.4 * far["day"]
    assert far["rain"] < far["day"]
    in_the_air = {
        name: int(((reach[name] < 3.5) & (sweep.points_lidar[:, 2] > -1) & (sweep.track_id == 0)).sum())
        for name, sweep in sweeps.items()
    }
    assert in_the_air["fog"] > 30 > 3 > in_the_air["day"], "drops in the air return pulses"


def test_a_tunnel_is_entered_half_way(small_rig: Rig) -> None:
    scene = Scene(5, "tunnel", "straight", rig=replace(small_rig, lidar=None))
    tunnel = scene.world.road.tunnel
    assert tunnel is not None
    assert scene.world.ego_s(5.0) == pytest.approx(tunnel.s0)
    outside, inside = (scene.picture("front", t).image[:60] for t in (0.5, 8.0))
    assert inside.mean() < 0.7 * outside.mean(), "the sky is gone"
    assert Scene(5, "day", "straight", rig=small_rig).world.road.tunnel is None


def test_mixed_goes_through_all_conditions(small_rig: Rig) -> None:
    scene = Scene(5, MIXED, "straight", duration=12.0, rig=small_rig)
    assert [scene.condition_at(t) for t in (1.0, 3.0, 5.0, 7.0, 9.0, 11.0)] == list(CONDITIONS)
    assert scene.condition_at(12.0) == list(CONDITIONS)[-1]


def test_an_unknown_condition_lists_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"'snow' does not exist: choose one of day, .*night.*mixed"):
        Scene(1, "snow")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"road": "loop"}, "road 'loop' does not exist: choose one of straight, curved"),
        ({"duration": 0.0}, "0 seconds is not possible"),
        ({"duration": -1.0}, "-1 seconds is not possible"),
        ({"duration": float("nan")}, "nan seconds is not possible"),
        ({"rate": 0.0}, "rate of 0 Hz is not possible"),
        ({"seed": -1}, "seed of -1 is not possible"),
    ],
)
def test_impossible_scenes_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Scene(**{"seed": 1, **change})  # type: ignore[arg-type]
