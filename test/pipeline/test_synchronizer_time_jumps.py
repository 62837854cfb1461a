"""Time goes backwards: a recording that loops, a clock that is set. Times in these tests are milliseconds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from sensors import TIMEOUT, Brief, Sensors, ms


def test_sweeps_that_wait_get_their_images_when_the_lidar_begins_again() -> None:
    sensors = Sensors("front")
    sensors.announce("front", 1000)
    sensors.sweep(1000)
    sensors.sweep(1100)
    sensors.restart_lidar()
    sensors.sweep(0, now=1200)

    assert sensors.result("front", 1000) == [(1000, {"front": 1000}, set())]
    assert sensors.image("front", 1100) == [(1100, {"front": 1100}, set())]
    sensors.restart_camera("front")
    assert sensors.image("front", 0) == [(0, {"front": 0}, set())]


def test_a_sweep_that_is_still_being_prepared_when_the_lidar_begins_again_is_of_the_lap_before() -> None:
    sensors = Sensors("front")
    sensors.image("front", 1000)
    last = sensors.announce_sweep(1000)
    sensors.restart_camera("front")
    sensors.restart_lidar()
    first = sensors.announce_sweep(0)

    assert sensors.prepared(last) == [(1000, {"front": 1000}, set())]
    sensors.image("front", 0)
    assert sensors.prepared(first, now=1100) == [(0, {"front": 0}, set())]


def test_a_sweep_of_before_is_not_waited_for_once_its_cameras_began_again() -> None:
    sensors = Sensors("front")
    sensors.image("front", 1000)
    sensors.sweep(1100)
    sensors.restart_lidar()
    sensors.restart_camera("front")
    sensors.announce("front", 0)

    assert sensors.expire(1101) == [(1100, {}, {"front"})]


def test_results_from_before_a_restart_are_not_paired() -> None:
    """A recording that is shorter than what is kept of it."""
    sensors = Sensors("front")
    for stamp in (0, 100, 200):
        sensors.image("front", stamp)
    sensors.restart_lidar()
    assert sensors.sweep(100) == []
    assert sensors.expire(1000) == [(100, {}, {"front"})]

    sensors.restart_camera("front")
    assert sensors.sweep(200) == [(200, {}, {"front"})]


def test_a_camera_whose_stamps_jump_by_themselves_is_paired_on() -> None:
    """Its clock was set, or two of its images came in the wrong order; the lidar knows nothing of it."""
    sensors = Sensors("front")
    for stamp in (0, 33, 100):
        sensors.image("front", stamp)
    sensors.restart_camera("front")
    sensors.image("front", 67)

    assert sensors.sweep(70) == [(70, {"front": 67}, set())]
    for stamp in (133, 167, 200):
        sensors.image("front", stamp)
    assert sensors.sweep(170) == [(170, {"front": 167}, set())]
    assert play_twice_from_now(sensors) == [[(s, {"front": s}, set()) for s in (0, 100, 200)]] * 2


def test_a_lidar_whose_stamps_jump_by_themselves_is_paired_on() -> None:
    sensors = Sensors("front")
    for stamp in (1000, 1100):
        sensors.image("front", stamp)
        sensors.sweep(stamp)
    sensors.restart_lidar()
    sensors.sweep(1050)
    assert sensors.expire(1050 + TIMEOUT) == [(1050, {}, {"front"})]
    sensors.image("front", 1200)

    assert sensors.sweep(1200) == [(1200, {"front": 1200}, set())]
    assert play_twice_from_now(sensors) == [[(s, {"front": s}, set()) for s in (0, 100, 200)]] * 2


def play_twice_from_now(sensors: Sensors) -> list[list[Brief]]:
    """What two laps of a recording give, in which the camera comes first or the lidar."""
    laps = []
    for first in ("camera", "lidar"):
        before = len(sensors.out)
        for stamp in (0, 100, 200):
            if stamp == 0:
                sensors.restart_lidar()
            if first == "lidar":
                sensors.sweep(stamp)
            if stamp == 0:
                sensors.restart_camera("front")
            sensors.image("front", stamp)
            if first == "camera":
                sensors.sweep(stamp)
        laps.append(sensors.out[before:])
    return laps


def test_when_the_clock_jumps_what_waits_does_so_from_then_on() -> None:
    sensors = Sensors("front")
    sensors.sweep(5000, now=5000)
    sensors.synchronizer.restart_clock(ms(10))

    assert sensors.expire(10 + TIMEOUT - 1) == []
    assert sensors.expire(10 + TIMEOUT) == [(5000, {}, {"front"})]


def test_a_recording_played_twice_gives_the_same_sets_twice() -> None:
    sensors = Sensors("left", "right", offsets={"right": 7})

    def play(clock: float) -> list[Brief]:
        start = len(sensors.out)
        sensors.synchronizer.restart_camera("left")
        sensors.synchronizer.restart_camera("right")
        sensors.restart_lidar()
        for i in range(10):
            for camera in ("left", "right"):
                sensors.announce(camera, 100 * i + 3)
            sensors.sweep(100 * i, clock + 100 * i)
            for camera in ("right", "left"):
                sensors.result(camera, 100 * i + 3)
        return sensors.out[start:]

    first, second = play(0), play(5000)

    assert first == second
    assert [stamp for stamp, _, _ in first] == [100 * i for i in range(10)]
    assert all(not missing for _, _, missing in first)


def test_an_offset_survives_a_restart() -> None:
    sensors = Sensors("front", offsets={"front": 40})
    sensors.restart_camera("front")
    sensors.restart_lidar()
    sensors.image("front", 0)
    sensors.image("front", 100)

    assert sensors.sweep(40) == [(40, {"front": 0}, set())]


def test_an_image_in_work_over_a_restart_does_no_harm() -> None:
    sensors = Sensors("front")
    sensors.announce("front", 5000)
    sensors.restart_camera("front")
    sensors.restart_lidar()
    sensors.result("front", 5000)
    sensors.announce("front", 0)
    sensors.sweep(0)

    assert sensors.result("front", 0) == [(0, {"front": 0}, set())]


@st.composite
def looped(draw: st.DrawFn) -> tuple[int, list[tuple[float, str, str, int]]]:
    """A short recording of three sensors played four times: arrival [ms], event, sensor and stamp [ms].

    Messages of one sensor keep their order; those of different ones come up to 90 ms apart.
    """
    frames = draw(st.integers(2, 6))
    events = []
    for sensor in ("left", "right", "lidar"):
        last = 0.0
        for lap in range(4):
            for frame in range(frames):
                arrival = (lap * frames + frame) * 100 + draw(st.integers(0, 90))
                last = max(arrival, last + 1e-3)
                events.append((last, "arrives", sensor, frame * 100))
                if sensor != "lidar":
                    last += 1e-3
                    done = last + draw(st.integers(0, 30))
                    events.append((done, "is done", sensor, frame * 100))
                    last = max(last, done)
    return frames, sorted(events)


@given(looped())
@settings(max_examples=50, deadline=None)
def test_a_recording_that_loops_gives_the_same_sets_in_whatever_order_its_sensors_begin_again(
    recording: tuple[int, list[tuple[float, str, str, int]]],
) -> None:
    frames, events = recording
    sensors = Sensors("left", "right")
    before: dict[str, int] = {}
    for now, event, sensor, stamp in events:
        if event == "is done":
            sensors.result(sensor, stamp)
            continue
        if stamp < before.get(sensor, stamp):
            sensors.restart_lidar() if sensor == "lidar" else sensors.restart_camera(sensor)
        before[sensor] = stamp
        sensors.expire(now)
        sensors.sweep(stamp, now) if sensor == "lidar" else sensors.announce(sensor, stamp)
    sensors.expire(events[-1][0] + TIMEOUT)

    lap = [(100 * i, {"left": 100 * i, "right": 100 * i}, set()) for i in range(frames)]
    assert sensors.out == lap * 4
