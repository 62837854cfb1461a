"""What does not come, comes late, or comes from another time: the rest goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from rclpy.serialization import deserialize_message
from road import (
    IMAGE,
    INFO,
    POINTS,
    SECOND,
    START,
    STEP,
    Road,
    camera_info,
    image,
    settled_road,
    start,
    sweep,
    transform,
)
from sensor_msgs.msg import PointCloud2
from vision_msgs.msg import Detection3DArray


@pytest.fixture
def road() -> Iterator[Road]:
    with start() as driver:
        yield settled_road(driver)


# -- calibration and transforms that are not there ------------------------------------------------------


def test_without_camera_info_there_are_2d_results_and_the_reason_for_no_3d():
    with start() as driver:
        road = Road(driver)
        road.send("/tf_static", transform("base_link", "lidar"))
        road.send("/tf_static", transform("base_link", "front_camera_optical"))
        assert len(road.send(IMAGE, image(START)).cameras) == 1
        assert not road.send(POINTS, sweep(START)).fused, "it may still come"
        assert len(road.wait(STEP).fused) == 1
        assert road.dropped()["no_camera_info_front"] == 1
        road.send(INFO, camera_info(road.now_ns))
        road.send(IMAGE, image(road.now_ns))
        road.send(POINTS, sweep(road.now_ns))
        assert road.dropped()["no_camera_info_front"] == 1


def test_a_camera_info_of_another_size_is_told(road: Road):
    road.send(INFO, camera_info(START, width=16))
    road.send(IMAGE, image(START))
    assert len(road.send(POINTS, sweep(START)).fused) == 1
    assert road.dropped()["camera_info_size_front"] == 1


def test_a_sweep_without_a_transform_waits_and_is_then_counted(road: Road):
    assert not road.send(POINTS, sweep(START, frame_id="roof")).fused
    assert not road.dropped()
    road.wait(99 * SECOND // 1000)
    assert not road.dropped()
    road.wait(2 * SECOND // 1000)
    assert road.dropped() == Counter({"no_transform": 1})
    road.wait(STEP)
    road.send(IMAGE, image(road.now_ns))
    assert len(road.send(POINTS, sweep(road.now_ns)).fused) == 1


def test_no_sweep_that_waits_for_its_transform_is_lost_without_a_word():
    with start(**{"sync.timeout": 1.0}) as driver:
        road = settled_road(driver)
        for _ in range(5):
            road.send(POINTS, sweep(road.now_ns, frame_id="roof"))
            road.wait(STEP)
        road.wait(2 * SECOND)
        assert sum(road.dropped().values()) == 5


def test_a_camera_without_a_transform_is_told_and_its_sweep_fused_without_it(road: Road):
    message = image(START)
    message.header.frame_id = "unknown_camera"
    assert len(road.send(IMAGE, message).cameras) == 1
    assert not road.send(POINTS, sweep(START)).fused, "it may still come"
    assert len(road.wait(STEP).fused) == 1
    assert road.dropped() == Counter({"no_transform_front": 1})


def test_a_frame_that_is_unknown_to_tf_delays_one_sweep_and_no_more(road: Road):
    for index in range(5):
        message = image(road.now_ns)
        message.header.frame_id = "unknown_camera"
        road.send(IMAGE, message)
        fused = road.send(POINTS, sweep(road.now_ns)).fused
        assert len(fused) == (index > 0)
        road.wait(STEP)
    assert len(road.fused) == 5
    assert road.dropped() == Counter({"no_transform_front": 5})


def test_calibration_that_comes_a_moment_after_the_first_sweep_is_used():
    with start() as driver:
        road = Road(driver)
        road.send("/tf_static", transform("base_link", "lidar"))
        road.send("/tf_static", transform("base_link", "front_camera_optical"))
        road.send(IMAGE, image(START))
        assert not road.send(POINTS, sweep(START)).fused
        road.wait(STEP // 4)
        road.send(INFO, camera_info(START))
        assert len(road.wait(STEP // 4).fused) == 1
        assert not road.dropped()


def test_the_transform_of_a_moving_camera_that_comes_late_is_waited_for(road: Road):
    """A camera on a turntable whose /tf is 30 ms behind its images, all the time."""
    for index in range(4):
        road.send("/tf", transform("base_link", "turntable", road.now_ns - STEP // 2))
        message = image(road.now_ns)
        message.header.frame_id = "turntable"
        road.send(IMAGE, message)
        assert not road.send(POINTS, sweep(road.now_ns)).fused, index
        road.wait(STEP * 3 // 10)
        (fused,) = road.send("/tf", transform("base_link", "turntable", road.now_ns)).fused
        assert fused.stamp_ns == road.now_ns - STEP * 3 // 10
        if index == 1:  # a gap in between, in which it is given up, changes nothing afterwards
            message = image(road.now_ns + 1)
            message.header.frame_id = "turntable"
            road.send(IMAGE, message)
            assert not road.send(POINTS, sweep(road.now_ns + 1)).fused
            assert len(road.wait(STEP).fused) == 1
        road.wait(STEP * 7 // 10)
    assert road.dropped() == Counter({"no_transform_front": 1})


@pytest.mark.parametrize("topic", ["/tf", "/tf_static"])
def test_a_transform_that_comes_late_but_in_time_is_used(road: Road, topic: str):
    road.send(IMAGE, image(START))
    assert not road.send(POINTS, sweep(START, frame_id="roof")).fused
    road.wait(50 * SECOND // 1000)
    (fused,) = road.send(topic, transform("base_link", "roof", START)).fused
    assert fused.stamp_ns == START and not road.dropped()
    assert fused.lidar.T_target_lidar[2, 3] == pytest.approx(1.7)


def test_a_moving_transform_is_taken_at_the_sweeps_stamp(road: Road):
    for offset_ns, z in ((0, 1.0), (SECOND, 3.0)):
        message = transform("base_link", "mast", START + offset_ns)
        message.transforms[0].transform.translation.z = z
        road.send("/tf", message)
    road.send(IMAGE, image(START + SECOND // 4))
    (fused,) = road.send(POINTS, sweep(START + SECOND // 4, frame_id="mast")).fused
    assert fused.lidar.T_target_lidar[2, 3] == pytest.approx(1.5)


# -- a sensor that is not there -------------------------------------------------------------------------


def test_a_camera_that_never_comes_costs_one_timeout_and_no_sweep(road: Road):
    assert not road.send(POINTS, sweep(START)).fused
    (fused,) = road.wait(STEP).fused
    assert (fused.stamp_ns, fused.missing) == (START, ("front",))
    for _ in range(5):
        road.wait(STEP)
        (fused,) = road.send(POINTS, sweep(road.now_ns)).fused
        assert fused.missing == ("front",)
    assert road.dropped() == Counter({"missing_front": 6})
    road.wait(STEP)
    road.send(IMAGE, image(road.now_ns))
    (fused,) = road.send(POINTS, sweep(road.now_ns)).fused
    assert fused.missing == ()


def test_a_lidar_that_never_comes_leaves_the_camera_at_work(road: Road):
    for _ in range(20):
        road.wait(STEP)
        assert len(road.send(IMAGE, image(road.now_ns)).cameras) == 1
    assert not road.fused and not road.dropped()
    road.wait(STEP)
    road.send(IMAGE, image(road.now_ns))
    (fused,) = road.send(POINTS, sweep(road.now_ns)).fused
    assert fused.missing == ()


@pytest.mark.parametrize("offset_ns", [-1000 * SECOND, 1000 * SECOND])
def test_a_second_publisher_with_another_clock_holds_no_sweep_up(road: Road, offset_ns: int):
    """A recording plays while the driver runs: the camera's stamps jump with every image."""
    for index in range(6):
        road.send(IMAGE, image(road.now_ns))
        road.send(IMAGE, image(road.now_ns + offset_ns))
        road.send(POINTS, sweep(road.now_ns))
        road.wait(STEP)
        assert len(road.fused) == index + 1
    assert road.source("front camera").noted["time_jump"] >= 5
    for _ in range(3):
        road.wait(STEP)
        road.send(IMAGE, image(road.now_ns))
        road.send(POINTS, sweep(road.now_ns))
    assert road.fused[-1].missing == (), "once there is only one again, all is as before"


def test_a_bad_image_does_not_hold_its_sweep_up(road: Road):
    road.send(POINTS, sweep(START))
    road.send(IMAGE, image(START, encoding="32FC1"))
    road.wait(STEP)
    assert [(fused.stamp_ns, fused.missing) for fused in road.fused] == [(START, ("front",))]
    assert road.dropped() == Counter({"unknown_encoding": 1, "missing_front": 1})


# -- time that jumps --------------------------------------------------------------------------------------


def drive(road: Road, frames: int = 5) -> list[tuple[int, tuple[str, ...]]]:
    """Play the same stretch of road; gives each sweep's stamp and the cameras that were missing."""
    done = len(road.fused)
    for index in range(frames):
        stamp_ns = START + index * STEP
        for topic, message in (
            (INFO, camera_info(stamp_ns)),
            (IMAGE, image(stamp_ns)),
            (POINTS, sweep(stamp_ns)),
        ):
            road.send(topic, message, at_ns=stamp_ns)
    return [(fused.stamp_ns, fused.missing) for fused in road.fused[done:]]


def test_a_recording_that_loops_gives_the_same_each_time(road: Road):
    expected = [(START + index * STEP, ()) for index in range(5)]
    for _ in range(3):
        assert drive(road) == expected
    assert not road.dropped()
    assert road.source("front camera").noted["time_jump"] == 2
    assert road.source("lidar").noted["time_jump"] == 2


def test_stamps_that_go_backwards_while_the_clock_goes_on(road: Road):
    """A bag played again into a system on wall-clock time."""
    for lap in range(2):
        for index in range(4):
            stamp_ns, now_ns = START + index * STEP, START + (lap * 10 + index) * STEP
            road.send(IMAGE, image(stamp_ns), at_ns=now_ns)
            road.send(POINTS, sweep(stamp_ns), at_ns=now_ns)
    assert [fused.stamp_ns for fused in road.fused] == [START + index * STEP for index in range(4)] * 2
    assert all(fused.missing == () for fused in road.fused)


def test_a_sweep_that_waits_goes_out_when_time_jumps_back(road: Road):
    road.send(IMAGE, image(START + SECOND - STEP), at_ns=START + SECOND)
    road.send(POINTS, sweep(START + SECOND), at_ns=START + SECOND)
    assert not road.fused
    road.now_ns = START
    road.send(IMAGE, image(START))
    road.send(POINTS, sweep(START))
    stamps = [(fused.stamp_ns, fused.missing) for fused in road.fused]
    assert stamps == [(START + SECOND, ("front",)), (START, ())]


def test_a_sweep_that_waits_for_its_transform_is_not_kept_for_ever_when_time_jumps_back(road: Road):
    road.now_ns = START + 100 * SECOND
    road.driver.advance(road.now_ns)
    road.send(POINTS, sweep(road.now_ns, frame_id="roof"))
    road.now_ns = START
    road.driver.advance(road.now_ns)
    road.wait(SECOND)
    assert road.dropped()["no_transform"] == 1


def test_moving_transforms_of_before_a_jump_are_forgotten(road: Road):
    for offset_ns in (0, SECOND):
        road.send("/tf", transform("base_link", "mast", START + offset_ns), at_ns=START + offset_ns)
    road.now_ns = START - 5 * SECOND
    road.driver.advance(road.now_ns)
    road.send(POINTS, sweep(START + SECOND // 2, frame_id="mast"))
    road.wait(STEP)
    assert road.dropped()["no_transform"] == 1


def test_every_output_keeps_the_stamp_and_frame_of_its_input(road: Road):
    stamp_ns = START + 123_456_789
    results = [road.send(IMAGE, image(stamp_ns)), road.send(POINTS, sweep(stamp_ns))]
    recorded = [message for result in results for message in result.recorded]
    detections = next(m for m in recorded if m.topic.endswith("detections_3d"))
    message = deserialize_message(detections.cdr, Detection3DArray)
    assert message.header.frame_id == "base_link"
    assert message.header.stamp.sec * SECOND + message.header.stamp.nanosec == stamp_ns
    cloud = deserialize_message(next(m for m in recorded if "points" in m.topic).cdr, PointCloud2)
    assert cloud.header == message.header
