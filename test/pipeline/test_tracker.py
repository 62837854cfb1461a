from __future__ import annotations

import numpy as np
import pytest
from builders import detection_3d

from avperception.pipeline.tracker import Tracker, TrackerSettings
from avperception.types import Detection3D


def seconds(time: float) -> int:
    return round(time * 1e9)


def tracker(**settings: float) -> Tracker:
    return Tracker(TrackerSettings(**settings))


def ids(detections: tuple[Detection3D, ...]) -> list[int]:
    return [d.track_id for d in detections]


def test_an_object_keeps_its_id_and_its_speed_is_found() -> None:
    follow = tracker()
    for i in range(30):
        (tracked,) = follow.update((detection_3d(10 + 0.8 * i, 2 - 0.1 * i),), seconds(0.1 * i))
        assert tracked.track_id == 1

    np.testing.assert_allclose(tracked.velocity, [8, -1, 0], atol=0.2)


def test_noise_does_not_break_a_track() -> None:
    random = np.random.default_rng(0)
    follow, seen = tracker(), set()
    for i in range(50):
        x, y = random.normal([20 + 0.5 * i, 0], 0.2)
        seen.update(ids(follow.update((detection_3d(x, y, sigma=0.2),), seconds(0.1 * i))))

    assert seen == {1}


@pytest.mark.parametrize("class_name", ["car", "person"])
def test_objects_that_pass_each_other_keep_their_ids(class_name: str) -> None:
    """Two pass at a metre and a half; one that only takes the nearest would swap them."""
    follow = tracker()
    size = (0.7, 0.65, 1.75) if class_name == "person" else (4.3, 1.85, 1.6)
    pair: dict[int, set[int]] = {0: set(), 1: set()}
    for i in range(41):
        along = -2 + 0.1 * i
        detections = (
            detection_3d(15 + 4 * along, 0.75, class_name, size=size),
            detection_3d(15 - 4 * along, -0.75, class_name, size=size),
        )
        if i % 2:
            detections = detections[::-1]
        found = ids(follow.update(detections, seconds(0.1 * i)))
        for row, track_id in zip((1, 0) if i % 2 else (0, 1), found, strict=True):
            pair[row].add(track_id)

    assert pair == {0: {1}, 1: {2}}


def test_objects_whose_ways_cross_keep_their_ids() -> None:
    follow = tracker()
    first, second = set(), set()
    for i in range(41):
        s = 0.5 * (i - 20)
        found = ids(
            follow.update(
                (detection_3d(20 + s, s + 0.3, "person"), detection_3d(20 + s, -s, "person")),
                seconds(0.1 * i),
            )
        )
        first.add(found[0])
        second.add(found[1])

    assert (first, second) == ({1}, {2})


@pytest.mark.parametrize(("gap", "track_id"), [(5, 1), (9, 1), (12, 2), (30, 2)])
@pytest.mark.parametrize("with_sweeps", [True, False], ids=["sweeps without it", "no sweeps"])
def test_what_comes_back_within_the_age_is_known(gap: int, track_id: int, with_sweeps: bool) -> None:
    """It drives at 10 m/s and comes back where it must be by then, `gap` tenths of a second later."""
    follow = tracker(max_age=1.0)
    for i in range(10):
        follow.update((detection_3d(10 + i, 0),), seconds(0.1 * i))
    for i in range(1, gap if with_sweeps else 0):
        assert follow.update((), seconds(0.9 + 0.1 * i)) == ()

    found = follow.update((detection_3d(19 + gap, 0),), seconds(0.9 + 0.1 * gap))

    assert ids(found) == [track_id]


def test_ids_count_up_in_the_order_of_the_detections_and_are_not_used_again() -> None:
    follow = tracker(max_age=0.5)
    assert ids(follow.update(tuple(detection_3d(10, y) for y in (0, 10, -10)), 0)) == [1, 2, 3]
    follow.update((), seconds(2))

    assert ids(follow.update((detection_3d(10, 0), detection_3d(10, 10)), seconds(2.1))) == [4, 5]


def test_another_class_in_the_same_place_is_another_object_unless_of_one_group() -> None:
    follow = tracker()
    follow.update((detection_3d(10, 0, "car"),), 0)

    assert ids(follow.update((detection_3d(10, 0, "person"),), seconds(0.1))) == [2]
    assert ids(follow.update((detection_3d(10, 0, "truck"),), seconds(0.2))) == [1]


def test_a_far_jump_is_another_object() -> None:
    follow = tracker()
    for i in range(10):
        follow.update((detection_3d(10, 0),), seconds(0.1 * i))

    assert ids(follow.update((detection_3d(10, 8),), seconds(1.0))) == [2]


def test_each_track_takes_one_detection() -> None:
    follow = tracker()
    follow.update((detection_3d(10, 0),), 0)

    found = ids(follow.update((detection_3d(10.4, 0), detection_3d(10.05, 0)), seconds(0.1)))

    assert sorted(found) == [1, 2]
    assert found[1] == 1


def test_everything_else_is_passed_through() -> None:
    detection = detection_3d(10, 3, "truck", yaw=0.3, score=0.42)

    (tracked,) = tracker().update((detection,), 0)

    for name in ("class_id", "class_name", "score", "yaw", "cameras"):
        assert getattr(tracked, name) == getattr(detection, name)
    for name in ("center", "size", "covariance", "point_indices"):
        np.testing.assert_array_equal(getattr(tracked, name), getattr(detection, name))
    np.testing.assert_array_equal(tracked.velocity, 0)
    assert detection.track_id == 0


def test_a_reset_starts_at_one_again_and_the_same_input_gives_the_same_bits() -> None:
    follow = tracker()

    def play() -> list[tuple[Detection3D, ...]]:
        random = np.random.default_rng(3)
        return [
            follow.update(
                tuple(detection_3d(*random.normal([15 + i, 3 * k], 0.3)) for k in range(i % 4)),
                seconds(0.1 * i),
            )
            for i in range(30)
        ]

    first = play()
    follow.reset()
    second = play()

    for a, b in zip(first, second, strict=True):
        assert ids(a) == ids(b)
        for one, other in zip(a, b, strict=True):
            np.testing.assert_array_equal(one.velocity, other.velocity)


def test_an_object_that_brakes_after_a_long_steady_drive_is_followed() -> None:
    follow, x, speed = tracker(), 5.0, 10.0
    for i in range(200):
        if i > 100:
            speed = max(0.0, speed - 0.4)
        x += 0.1 * speed
        (tracked,) = follow.update((detection_3d(x, 0, sigma=0.05),), seconds(0.1 * i))
        assert tracked.track_id == 1

    assert abs(tracked.velocity[0]) < 0.5


def test_two_updates_at_one_time_are_no_error() -> None:
    follow = tracker()
    follow.update((detection_3d(10, 0),), seconds(1))

    (tracked,) = follow.update((detection_3d(10.1, 0),), seconds(1))

    assert tracked.track_id == 1 and np.isfinite(tracked.velocity).all()
