"""Times in these tests are milliseconds; `ms` makes nanoseconds of them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensors import INTERVAL, TIMEOUT, Sensors

from avperception.pipeline.synchronizer import SWEEPS_KEPT

# --------------------------------------------------------------------------------------------------
# Everything delivers


def test_a_set_goes_out_when_its_last_part_comes() -> None:
    sensors = Sensors("left", "right")

    assert sensors.image("left", 0) == []
    assert sensors.sweep(0) == []
    assert sensors.image("right", 1) == [(0, {"left": 0, "right": 1}, set())]


def test_a_sweep_that_comes_last_goes_out_at_once() -> None:
    sensors = Sensors("front")
    sensors.image("front", 0)

    assert sensors.sweep(3) == [(3, {"front": 0}, set())]


def test_without_cameras_a_sweep_goes_out_at_once() -> None:
    assert Sensors().sweep(5) == [(5, {}, set())]


def test_an_image_in_work_is_waited_for_however_long_it_takes() -> None:
    sensors = Sensors("front")
    sensors.announce("front", 0)
    sensors.sweep(0)

    assert sensors.expire(TIMEOUT * 50) == []
    assert sensors.result("front", 0) == [(0, {"front": 0}, set())]


def test_an_image_that_gave_no_result_is_not_waited_for() -> None:
    sensors = Sensors("left", "right")
    for camera in ("left", "right"):
        sensors.announce(camera, 0)
    sensors.sweep(0)
    sensors.result("left", 0)
    # The next images have arrived: nothing nearer to the sweep can come any more.
    sensors.announce("right", 100)

    assert sensors.withdraw("right", 0) == [(0, {"left": 0}, {"right"})]


def test_the_nearest_of_several_images_is_taken() -> None:
    sensors = Sensors("front")
    for stamp in (0, 33, 67, 100):
        sensors.image("front", stamp)

    assert sensors.sweep(70) == [(70, {"front": 67}, set())]


def test_a_nearer_image_that_is_due_is_waited_for() -> None:
    sensors = Sensors("front")
    for stamp in (0, 33, 66):
        sensors.image("front", stamp)

    assert sensors.sweep(95) == []
    assert sensors.image("front", 99) == [(95, {"front": 99}, set())]


@pytest.mark.parametrize("camera_period", [16.7, 33.3, 50, 100, 200])
def test_rates_may_differ(camera_period: float) -> None:
    """The lidar turns at 10 Hz; a sweep arrives when it is complete, 100 ms after its stamp."""
    sensors = Sensors("front")
    arrivals = [
        ("image", i * camera_period, i * camera_period + 20) for i in range(int(3000 / camera_period))
    ]
    arrivals += [("sweep", 100.0 * i + 5, 100.0 * i + 105) for i in range(25)]
    for kind, stamp, now in sorted(arrivals, key=lambda event: event[2]):
        sensors.expire(now)
        if kind == "image":
            sensors.image("front", stamp)
        else:
            sensors.sweep(stamp, now)

    assert [stamp for stamp, _, _ in sensors.out] == [100.0 * i + 5 for i in range(25)]
    for stamp, cameras, missing in sensors.out:
        nearest = round(stamp / camera_period) * camera_period
        if abs(nearest - stamp) <= INTERVAL:
            assert (cameras, missing) == ({"front": pytest.approx(nearest, abs=1e-3)}, set())
        else:
            assert (cameras, missing) == ({}, {"front"})


def test_a_cameras_time_offset_is_added_to_its_stamps() -> None:
    sensors = Sensors("late", offsets={"late": -40})
    sensors.image("late", 0)
    sensors.image("late", 100)

    # Taken at 60 by the lidar's clock; the image keeps the stamp that it came with.
    assert sensors.sweep(58) == [(58, {"late": 100}, set())]


def test_sweeps_keep_their_order_while_the_first_one_waits() -> None:
    sensors = Sensors("front")
    sensors.announce("front", 0)
    sensors.sweep(0)
    sensors.announce("front", 100)
    sensors.sweep(100)

    assert sensors.result("front", 100) == []
    assert sensors.result("front", 0) == [(0, {"front": 0}, set()), (100, {"front": 100}, set())]


# --------------------------------------------------------------------------------------------------
# Something does not deliver


def test_a_camera_that_never_came_costs_one_timeout() -> None:
    sensors = Sensors("left", "right")
    sensors.image("left", 0)
    assert sensors.sweep(0) == []
    assert sensors.expire(TIMEOUT - 1) == []
    assert sensors.expire(TIMEOUT) == [(0, {"left": 0}, {"right"})]

    for stamp in (100, 200, 300):
        sensors.image("left", stamp)
        assert sensors.sweep(stamp) == [(stamp, {"left": stamp}, {"right"})]


@pytest.mark.parametrize("interval", [50, 500])
@pytest.mark.parametrize("last", [1000, 980, 960])
@pytest.mark.parametrize("period", [33, 100])
def test_a_camera_that_dies_costs_one_timeout(period: float, last: float, interval: float) -> None:
    """Whatever the phase between the two sensors, and also while its last image can still be paired."""
    sensors = Sensors("front", interval=interval)
    for i in range(5, -1, -1):
        sensors.image("front", last - i * period)

    waits = 0
    for stamp in range(1000, 2000, 100):
        if not sensors.sweep(stamp):
            waits += 1
            assert len(sensors.expire(stamp + TIMEOUT)) == 1

    assert waits <= 1


def test_a_camera_that_comes_back_is_paired_again() -> None:
    sensors = Sensors("front")
    sensors.sweep(0)
    sensors.expire(TIMEOUT)
    assert sensors.sweep(200) == [(200, {}, {"front"})]

    sensors.announce("front", 300)
    assert sensors.sweep(300) == []
    assert sensors.result("front", 300) == [(300, {"front": 300}, set())]


def test_a_camera_that_came_back_is_waited_for_again() -> None:
    sensors = Sensors("front")
    sensors.sweep(0)
    sensors.expire(TIMEOUT)
    sensors.image("front", 200)

    assert sensors.sweep(300) == []
    assert sensors.image("front", 305) == [(300, {"front": 305}, set())]


def test_an_image_too_far_from_the_sweep_is_not_paired() -> None:
    sensors = Sensors("front")
    sensors.image("front", 0)
    sensors.image("front", INTERVAL * 2 + 1)

    assert sensors.sweep(INTERVAL + 0.5) == [(INTERVAL + 0.5, {}, {"front"})]


def test_an_image_exactly_on_the_limit_is_paired() -> None:
    sensors = Sensors("front")
    sensors.image("front", 0)
    sensors.announce("front", 1000)

    assert sensors.sweep(INTERVAL) == [(INTERVAL, {"front": 0}, set())]


def test_an_image_in_work_that_cannot_be_paired_is_not_waited_for() -> None:
    """The sweep lies in a gap of the camera, whose next image is at work but too far away."""
    sensors = Sensors("front")
    sensors.image("front", 0)
    sensors.announce("front", 290)

    assert sensors.sweep(150) == [(150, {}, {"front"})]


def test_too_many_waiting_sweeps_push_the_oldest_out() -> None:
    sensors = Sensors("front")
    sensors.announce("front", 0)
    for i in range(SWEEPS_KEPT):
        assert sensors.sweep(i) == []

    assert sensors.sweep(SWEEPS_KEPT) == [(0, {}, {"front"})]
    assert sensors.sweep(SWEEPS_KEPT + 1) == [(1, {}, {"front"})]


def test_no_lidar_means_no_sets_and_no_growth() -> None:
    sensors = Sensors("front")
    for i in range(1000):
        assert sensors.image("front", i * 33) == []
        assert sensors.expire(i * 33) == []
    # Only now the lidar starts; what the camera gave long ago is not dug out again.
    assert sensors.sweep(33) == [(33, {}, {"front"})]


# --------------------------------------------------------------------------------------------------
# Any order of events

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("sweep"), st.integers(1, 150)),
        st.tuples(st.just("announce"), st.sampled_from("ab"), st.integers(1, 150)),
        st.tuples(st.just("finish"), st.sampled_from("ab"), st.integers(0, 5), st.booleans()),
        st.tuples(st.just("wait"), st.integers(1, 150)),
    ),
    max_size=60,
)


@given(EVENTS, st.integers(-60, 60))
@settings(max_examples=300, deadline=None)
def test_whatever_comes_when_each_sweep_goes_out_once_in_order_and_in_time(
    events: list[tuple], offset: int
) -> None:
    sensors = Sensors("a", "b", offsets={"b": offset})
    last = {"a": 0, "b": 0}
    in_work: dict[str, list[int]] = {"a": [], "b": []}
    sent: list[tuple[int, float]] = []  # stamp, arrival
    stamp, now = 0, 0.0
    for event in events:
        if event[0] == "sweep":
            stamp += event[1]
            sent.append((stamp, now))
            sensors.sweep(stamp, now)
        elif event[0] == "announce":
            last[event[1]] += event[2]
            in_work[event[1]].append(last[event[1]])
            sensors.announce(event[1], last[event[1]])
        elif event[0] == "finish" and in_work[event[1]]:
            image = in_work[event[1]].pop(event[2] % len(in_work[event[1]]))
            (sensors.result if event[3] else sensors.withdraw)(event[1], image)
        elif event[0] == "wait":
            now += event[1]
            sensors.expire(now)
            if not in_work["a"] and not in_work["b"]:
                due = [s for s, arrived in sent if now - arrived >= TIMEOUT]
                assert len(sensors.out) >= len(due)
        assert len(sent) - len(sensors.out) <= SWEEPS_KEPT
    for camera, images in in_work.items():
        for image in images:
            sensors.withdraw(camera, image)
    sensors.expire(now + TIMEOUT)

    assert [s for s, _, _ in sensors.out] == [s for s, _ in sent]
    for sweep_stamp, cameras, missing in sensors.out:
        assert set(cameras) | missing == {"a", "b"} and not set(cameras) & missing
        for camera, image_stamp in cameras.items():
            shifted = image_stamp + (offset if camera == "b" else 0)
            assert abs(shifted - sweep_stamp) <= INTERVAL
