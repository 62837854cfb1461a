"""A vehicle drives and turns while a camera and the lidar look at different times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from road import IMAGE, POINTS, SECOND, START, STEP, Road, image, settled_road, start, sweep, transform
from scipy.spatial.transform import Rotation
from tf2_msgs.msg import TFMessage

from avperception.nodes.transforms import matrix
from avperception.pipeline.fusion import CameraView

SPEED, TURN = 20.0, 0.5
"""[m/s] along its own x to begin with, [rad/s] to the left."""

GAP = 40 * SECOND // 1000
"""From the image to the sweep, within the interval of the synchronizer."""

ODOMETRY = SECOND // 50


def odometry(stamp_ns: int) -> TFMessage:
    """Where the vehicle is in odom: on a circle, at the speed and turn rate of above."""
    seconds = (stamp_ns - START) / SECOND
    yaw, radius = TURN * seconds, SPEED / TURN
    message = transform("odom", "base_link", stamp_ns)
    entry = message.transforms[0].transform
    entry.translation.x, entry.translation.y = radius * np.sin(yaw), radius * (1 - np.cos(yaw))
    entry.translation.z = 0.0
    entry.rotation.x, entry.rotation.y, entry.rotation.z, entry.rotation.w = map(
        float, Rotation.from_euler("z", yaw).as_quat()
    )
    return message


def T_odom_base(stamp_ns: int) -> np.ndarray:
    return matrix(odometry(stamp_ns).transforms[0])


@pytest.fixture
def road() -> Iterator[Road]:
    with start() as driver:
        yield settled_road(driver)


def view(road: Road) -> CameraView:
    """How the last image was placed for the last sweep."""
    fused = road.fused[-1]
    return road.driver.node.cameras[0].view(fused.cameras[0], fused.stamp_ns)


def expected_view(image_ns: int, sweep_ns: int) -> np.ndarray:
    T_base_camera = np.eye(4)
    T_base_camera[2, 3] = 1.7
    return np.linalg.inv(T_odom_base(image_ns) @ T_base_camera) @ T_odom_base(sweep_ns)


def drive(road: Road, from_ns: int, to_ns: int) -> None:
    for stamp_ns in range(from_ns, to_ns + 1, ODOMETRY):
        road.send("/tf", odometry(stamp_ns))


def test_what_the_vehicle_moved_between_image_and_sweep_is_taken_out(road: Road):
    drive(road, START - STEP, START + STEP)
    ((result, _),) = road.send(IMAGE, image(START)).cameras
    (fused,) = road.send(POINTS, sweep(START + GAP)).fused
    assert fused.cameras[0].stamp_ns == START and not fused.missing
    T = view(road).T_camera_target
    np.testing.assert_allclose(T, expected_view(START, START + GAP), atol=0.01)
    # A post that stands 10 m ahead at the sweep's time was 10.8 m ahead when the image was taken.
    post = T @ [10.0, 0.0, 1.7, 1.0]
    assert post[0] == pytest.approx(10.8, abs=0.02)
    # Pictures show it so as well.
    drawn = road.driver.views_of(fused)(result)
    assert drawn is not None
    np.testing.assert_array_equal(drawn.T_camera_target, T)
    # What lanes are laid on the ground with, and what has no sweep, is where the camera was itself.
    alone = road.driver.node.cameras[0].view(fused.cameras[0])
    np.testing.assert_allclose(alone.T_camera_target, expected_view(START, START), atol=1e-9)
    assert not road.dropped() and not road.source("fusion").noted


def test_pictures_do_without_odometry_that_came_too_late_and_do_not_note_it_again(road: Road):
    drive(road, START - STEP, START)
    ((result, _),) = road.send(IMAGE, image(START)).cameras
    road.send(POINTS, sweep(START + GAP))
    (fused,) = road.wait(STEP).fused
    noted = road.source("fusion").noted
    drawn = road.driver.views_of(fused)(result)
    assert drawn is not None and noted == {"late_odometry": 1}
    np.testing.assert_allclose(drawn.T_camera_target, expected_view(START, START), atol=1e-9)
    assert road.source("fusion").noted == noted


def test_the_cameras_time_offset_says_when_the_image_was_taken():
    with start(**{"front.time_offset": -0.03}) as driver:
        road = settled_road(driver)
        drive(road, START - STEP, START + STEP)
        road.send(IMAGE, image(START))
        (fused,) = road.send(POINTS, sweep(START)).fused
        assert fused.cameras[0].stamp_ns == START
        np.testing.assert_allclose(
            view(road).T_camera_target, expected_view(START - 30 * SECOND // 1000, START), atol=0.01
        )


@pytest.mark.parametrize("fixed_frame", ["", "map"])
def test_without_a_fixed_frame_the_vehicle_stands_still_and_nothing_waits(fixed_frame: str):
    with start(**{"fusion.fixed_frame": fixed_frame}) as driver:
        road = settled_road(driver)
        drive(road, START - STEP, START)
        road.send(IMAGE, image(START))
        assert len(road.send(POINTS, sweep(START + GAP)).fused) == 1
        np.testing.assert_allclose(view(road).T_camera_target, expected_view(START, START), atol=1e-9)
        assert not road.dropped() and not road.source("fusion").noted


def test_odometry_that_lags_behind_is_waited_for(road: Road):
    drive(road, START - STEP, START)
    for index in range(3):
        stamp_ns = START + index * STEP
        road.send(IMAGE, image(stamp_ns))
        assert not road.send(POINTS, sweep(stamp_ns + GAP)).fused
        road.wait(ODOMETRY)
        drive(road, stamp_ns + ODOMETRY, stamp_ns + STEP)
        assert len(road.fused) == index + 1
        np.testing.assert_allclose(
            view(road).T_camera_target, expected_view(stamp_ns, stamp_ns + GAP), atol=0.01
        )
        road.wait(STEP - ODOMETRY)
    assert not road.source("fusion").noted and not road.dropped()


def test_odometry_that_dies_costs_one_wait_and_is_used_again_when_it_comes_back(road: Road):
    drive(road, START - STEP, START)
    for index in range(5):
        road.send(IMAGE, image(road.now_ns))
        at_once = road.send(POINTS, sweep(road.now_ns + GAP)).fused
        assert len(at_once) == (index > 0)
        road.wait(STEP)
    assert [fused.stamp_ns for fused in road.fused] == [START + i * STEP + GAP for i in range(5)]
    assert road.source("fusion").noted == {"late_odometry": 5}
    assert road.dropped() == Counter()

    drive(road, road.now_ns, road.now_ns)
    road.send(IMAGE, image(road.now_ns))
    assert not road.send(POINTS, sweep(road.now_ns + GAP)).fused, "it is back: waited for"
    drive(road, road.now_ns + ODOMETRY, road.now_ns + STEP)
    assert len(road.fused) == 6 and road.source("fusion").noted == {"late_odometry": 5}
