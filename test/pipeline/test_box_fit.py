from __future__ import annotations

import numpy as np
import pytest
from builders import LIDAR_HEIGHT, Thing, angle_between, block, car, cast_sweep, lidar_result, pedestrian
from hypothesis import given, settings
from hypothesis import strategies as st

from avperception.pipeline.box_fit import FittedBox, Sight, fit_box
from avperception.pipeline.sizes import size_of
from avperception.types import Float64

SENSOR = np.array([0.0, 0.0, LIDAR_HEIGHT])


def points_on(thing: Thing, seed: int = 0, noise: float = 0.02) -> Float64:
    """Lidar returns of one thing, with those of the ground and the lowest 20 cm left out."""
    heading = float(np.degrees(np.arctan2(thing.center[1], thing.center[0])))
    sweep = cast_sweep([thing], half_angle=40, heading=heading, noise=noise, seed=seed)
    lidar = lidar_result(sweep)
    return lidar.points[(sweep.owner == 0) & (lidar.points[:, 2] > 0.2)].astype(float)


def fit(thing: Thing, seed: int = 0) -> FittedBox:
    return fit_box(points_on(thing, seed), 0.0, SENSOR, size_of(thing.class_name))


def error_of(box: FittedBox, thing: Thing) -> float:
    return float(np.linalg.norm(box.center[:2] - thing.center[:2]))


CARS = {
    "from behind": car(15, 0, 0),
    "from behind, to the left": car(15, 4, 0),
    "from the front": car(20, -3, np.pi),
    "from the side": car(12, 0, np.pi / 2),
    "side and rear": car(12, 5, 0.6),
    "a corner": car(15, 3, np.pi / 4),
    "a corner, other side": car(15, -3, -np.pi / 4),
    "beside": car(2, 5, 0),
    "behind us": car(-14, -3, 0.1),
    "far": car(32, -4, 0.15),
    "near": car(6, 0.5, 0.02),
}


@pytest.mark.parametrize("case", CARS)
def test_a_car_is_where_it_is_and_as_long_and_wide_as_it_is(case: str) -> None:
    thing = CARS[case]

    box = fit(thing)

    assert error_of(box, thing) < 0.4
    np.testing.assert_allclose(box.size[:2], thing.size[:2], atol=0.5)
    assert box.size[2] == pytest.approx(1.5, abs=0.2)
    assert box.center[2] == pytest.approx(box.size[2] / 2, abs=0.01)
    assert angle_between(box.yaw, thing.yaw) < np.radians(12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("position", [(8, 0), (15, 4), (25, -6), (2, 6), (-10, 2)])
def test_a_pedestrian_is_where_it_is(position: tuple[float, float], seed: int) -> None:
    thing = pedestrian(*position, yaw=0.3 * seed)

    box = fit(thing, seed)

    assert error_of(box, thing) < 0.35
    assert box.size[2] == pytest.approx(1.75, abs=0.2)


@pytest.mark.parametrize("yaw", [0.0, np.pi / 2, 0.5])
def test_a_truck_longer_than_typical_keeps_its_length_where_it_is_seen(yaw: float) -> None:
    thing = block("truck", 18, 5, yaw, (10.0, 2.5, 3.2), lift=0.0)

    box = fit(thing)

    assert angle_between(box.yaw, yaw) < np.radians(10)
    if yaw:  # its long side is in view
        assert box.size[0] == pytest.approx(10.0, abs=0.6)
        assert error_of(box, thing) < 0.5
    assert box.size[1] == pytest.approx(2.5, abs=0.4)


def test_a_cyclist_is_where_it_is() -> None:
    thing = block("cyclist", 14, 3, 0.2, (1.7, 0.5, 1.7))

    box = fit(thing)

    assert error_of(box, thing) < 0.5


def sight_of(thing: Thing, *, cut_left: bool = False, cut_right: bool = False) -> Sight:
    """The bearings between which a camera at the sensor sees a thing ahead."""
    along = np.array([np.cos(thing.yaw), np.sin(thing.yaw)]) * thing.size[0] / 2
    across = np.array([-np.sin(thing.yaw), np.cos(thing.yaw)]) * thing.size[1] / 2
    corners = np.array([thing.center[:2] + a * along + b * across for a in (-1, 1) for b in (-1, 1)])
    bearings = np.arctan2(corners[:, 1], corners[:, 0])
    left, right = float(bearings.max()), float(bearings.min())
    return Sight(np.zeros(2), None if cut_left else left, None if cut_right else right)


@pytest.mark.parametrize("distance", [12, 20, 28, 36])
@pytest.mark.parametrize("yaw", [0.0, np.pi / 2])
@pytest.mark.parametrize("kind", ["car", "truck"])
def test_the_sides_of_the_2d_box_tell_a_rear_from_a_side(kind: str, yaw: float, distance: float) -> None:
    size = (4.5, 1.85, 1.5) if kind == "car" else (6.7, 2.3, 3.3)
    thing = block(kind, distance, 0, yaw, size)

    box = fit_box(points_on(thing), 0.0, SENSOR, size_of(kind), sight_of(thing))

    assert angle_between(box.yaw, yaw) < np.radians(10)
    assert error_of(box, thing) < 0.5


def test_a_side_that_the_image_cuts_off_tells_nothing() -> None:
    thing = block("car", 12, 0, 0.4, (4.5, 1.85, 1.5))
    corners = np.array([[10.0, -1], [10, 1], [14, 1], [14, -1]])

    both = sight_of(thing).misfit(corners)
    left = sight_of(thing, cut_right=True).misfit(corners)
    right = sight_of(thing, cut_left=True).misfit(corners)

    assert both == pytest.approx(left + right)
    assert sight_of(thing, cut_left=True, cut_right=True).misfit(corners) == 0


@pytest.mark.parametrize("bearing", [0.0, 1.5, 3.1, -3.1])
def test_a_misfit_is_in_metres_and_the_same_all_round(bearing: float) -> None:
    """A square of 2 m at 10 m, seen half a metre wider on each side, measured at its nearer corners."""
    rotation = np.array([[np.cos(bearing), -np.sin(bearing)], [np.sin(bearing), np.cos(bearing)]])
    corners = np.array([[9.0, -1], [9, 1], [11, 1], [11, -1]]) @ rotation.T
    edge = np.arctan2(1, 9) + 0.05
    sight = Sight(np.zeros(2), bearing + edge, bearing - edge)

    assert sight.misfit(corners) == pytest.approx(2 * 0.05 * 10, abs=1e-6)


def test_an_unknown_class_is_what_was_seen() -> None:
    thing = block("statue", 10, 0, 0.0, (1.0, 2.0, 1.2))
    points = points_on(thing)

    box = fit_box(points, 0.0, SENSOR, None)

    assert box.size[1] == pytest.approx(2.0, abs=0.15)
    assert box.size[2] == pytest.approx(1.2, abs=0.15)
    assert box.center[0] - box.size[0] / 2 == pytest.approx(9.5, abs=0.1)


@given(
    distance=st.floats(6, 35),
    bearing=st.floats(-np.pi, np.pi),
    yaw=st.floats(-np.pi, np.pi),
    kind=st.sampled_from(["car", "person", "unknown", "cyclist"]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_every_box_is_sound(distance: float, bearing: float, yaw: float, kind: str, seed: int) -> None:
    x, y = distance * np.cos(bearing), distance * np.sin(bearing)
    thing = {
        "car": car(x, y, yaw),
        "person": pedestrian(x, y, yaw),
        "unknown": block("unknown", x, y, yaw, (1, 1, 1)),
        "cyclist": block("cyclist", x, y, yaw, (1.75, 0.6, 1.75)),
    }[kind]

    box = fit(thing, seed)

    assert np.isfinite(box.center).all() and (box.size > 0).all()
    assert -np.pi / 2 <= box.yaw <= np.pi / 2
    np.testing.assert_allclose(box.covariance, box.covariance.T, atol=1e-12)
    assert np.linalg.eigvalsh(box.covariance).min() >= 0
    assert error_of(box, thing) < 2.2 if kind == "car" else error_of(box, thing) < 1.0


@pytest.mark.parametrize("kind", ["car", "person", "cyclist"])
def test_the_covariance_is_honest(kind: str) -> None:
    """The centre lies within three sigma of the truth nearly always, and sigma is no alibi."""
    random = np.random.default_rng(7)
    distances, sigmas, errors = [], [], []
    for seed in range(60):
        bearing, yaw, range_ = (
            random.uniform(-np.pi, np.pi),
            random.uniform(-np.pi, np.pi),
            random.uniform(7, 35),
        )
        x, y = range_ * np.cos(bearing), range_ * np.sin(bearing)
        thing = {
            "car": lambda x=x, y=y, yaw=yaw: car(x, y, yaw, (random.uniform(3.7, 4.8), 1.8, 1.5)),
            "person": lambda x=x, y=y, yaw=yaw: pedestrian(x, y, yaw),
            "cyclist": lambda x=x, y=y, yaw=yaw: block("cyclist", x, y, yaw, (1.75, 0.6, 1.75)),
        }[kind]()
        box = fit(thing, seed)
        error = box.center[:2] - thing.center[:2]
        distances.append(np.sqrt(error @ np.linalg.solve(box.covariance[:2, :2], error)))
        sigmas.append(np.sqrt(np.trace(box.covariance[:2, :2])))
        errors.append(np.linalg.norm(error))

    assert np.mean(np.array(distances) < 3) > 0.9
    assert np.median(sigmas) < 1.5
    assert np.median(errors) < 0.35


def test_the_heading_is_uncertain_exactly_where_it_was_not_measured() -> None:
    known, unknown = fit(CARS["a corner"]), fit(pedestrian(15, 3))

    assert np.sqrt(known.covariance[5, 5]) < np.radians(10)
    assert unknown.covariance[5, 5] == pytest.approx(np.pi**2 / 12)


def test_the_unseen_end_is_more_uncertain_than_the_seen_side() -> None:
    box = fit(car(20, 0, 0))

    assert box.covariance[0, 0] > 4 * box.covariance[1, 1]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("class_name", ["car", "person", "unknown"])
def test_very_few_points_still_give_a_finite_box(class_name: str, count: int) -> None:
    points = np.array([[10.0, 1.0, 0.5], [10.1, 1.1, 0.8], [10.0, 1.3, 1.0]])[:count]

    box = fit_box(points, 0.0, SENSOR, size_of(class_name))

    assert np.isfinite(np.concatenate([box.center, box.size, box.covariance.ravel(), [box.yaw]])).all()
    assert (box.size > 0).all()


def test_the_fit_does_not_depend_on_where_the_frame_is() -> None:
    points, shift = points_on(CARS["a corner"]), np.array([120.0, -40.0, 3.0])
    here = fit_box(points, 0.0, SENSOR, size_of("car"))

    there = fit_box(points + shift, shift[2], SENSOR + shift, size_of("car"))

    np.testing.assert_allclose(there.center - shift, here.center, atol=1e-6)
    np.testing.assert_allclose(there.size, here.size, atol=1e-6)
    assert there.yaw == pytest.approx(here.yaw)
