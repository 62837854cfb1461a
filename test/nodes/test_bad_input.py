"""Bad messages on real topics: each is dropped and counted under its reason, and the node lives on."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from road import (
    IMAGE,
    INFO,
    POINTS,
    SECOND,
    STEP,
    Road,
    camera_info,
    image,
    settled_road,
    start,
    sweep,
    transform,
)
from sensor_msgs.msg import CameraInfo, Image, PointCloud2


@pytest.fixture(scope="module")
def long_road() -> Iterator[Road]:
    """One node for many bad messages."""
    with start() as driver:
        yield settled_road(driver)


def big(count: int) -> array[int]:
    return array("B", bytes(count))


BAD_IMAGES: dict[str, tuple[str, Callable[[int], Image]]] = {
    "unknown encoding": ("unknown_encoding", lambda t: image(t, encoding="32FC3")),
    "data one byte short": ("wrong_data_size", lambda t: image(t, data=big(95))),
    "data one byte long": ("wrong_data_size", lambda t: image(t, data=big(97))),
    "no data": ("wrong_data_size", lambda t: image(t, data=big(0))),
    "no width": ("zero_size", lambda t: image(t, width=0)),
    "no height": ("zero_size", lambda t: image(t, height=0, data=big(0))),
    "a step of zero": ("wrong_step", lambda t: image(t, step=0)),
    "odd nv12": ("odd_size", lambda t: image(t, encoding="nv12", width=7, height=3)),
    "no stamp": ("zero_stamp", lambda t: image(0)),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_a_bad_image(long_road: Road, kind: str):
    reason, make = BAD_IMAGES[kind]
    road, camera = long_road, long_road.source("front camera")
    road.wait(STEP)
    before, processed = road.dropped(), camera.processed
    results = road.send(IMAGE, make(road.now_ns))
    assert not results.cameras
    assert road.dropped() - before == Counter({reason: 1})
    road.wait(STEP)
    assert len(road.send(IMAGE, image(road.now_ns)).cameras) == 1
    assert camera.processed == processed + 1


def with_field(message: PointCloud2, index: int, **changes: Any) -> PointCloud2:
    for name, value in changes.items():
        setattr(message.fields[index], name, value)
    return message


BAD_SWEEPS: dict[str, tuple[str, Callable[[int], PointCloud2]]] = {
    "no z": ("missing_fields", lambda t: with_field(sweep(t), 2, name="w")),
    "y of float64": ("missing_fields", lambda t: with_field(sweep(t), 1, datatype=8)),
    "no fields": ("missing_fields", lambda t: sweep(t, fields=[])),
    "point step 8": ("wrong_point_step", lambda t: sweep(t, point_step=8)),
    "point step 16": ("wrong_data_size", lambda t: sweep(t, point_step=16)),
    "a field beyond the point": ("wrong_point_step", lambda t: with_field(sweep(t), 0, offset=9)),
    "data one byte short": ("wrong_data_size", lambda t: sweep(t, data=big(2399))),
    "two rows of half a row step": (
        "wrong_data_size",
        lambda t: sweep(t, height=2, width=100, row_step=1000),
    ),
    "empty": ("empty_cloud", lambda t: sweep(t, points=np.zeros((0, 3)))),
    "big-endian": ("big_endian", lambda t: sweep(t, is_bigendian=True)),
    "no stamp": ("zero_stamp", lambda t: sweep(0)),
}


@pytest.mark.parametrize("kind", BAD_SWEEPS)
def test_a_bad_sweep(long_road: Road, kind: str):
    reason, make = BAD_SWEEPS[kind]
    road, lidar = long_road, long_road.source("lidar")
    road.wait(STEP)
    road.send(IMAGE, image(road.now_ns))
    before, processed = road.dropped(), lidar.processed
    assert not road.send(POINTS, make(road.now_ns)).fused
    assert road.dropped() - before == Counter({reason: 1})
    road.wait(STEP)
    road.send(IMAGE, image(road.now_ns))
    (fused,) = road.send(POINTS, sweep(road.now_ns)).fused
    assert (fused.stamp_ns, fused.missing) == (road.now_ns, ())
    assert lidar.processed == processed + 1


BAD_INFOS: dict[str, tuple[str, Callable[[int], CameraInfo]]] = {
    "uncalibrated": ("uncalibrated", lambda t: camera_info(t, k=[0.0] * 9)),
    "unknown model": ("unknown_distortion_model", lambda t: camera_info(t, distortion_model="fisheye")),
    "wrong count": ("bad_camera_info", lambda t: camera_info(t, d=[0.0] * 3)),
    "nan": ("bad_camera_info", lambda t: camera_info(t, k=[np.nan, *[1.0] * 8])),
    "no size": ("bad_camera_info", lambda t: camera_info(t, width=0)),
    "no stamp": ("zero_stamp", lambda t: camera_info(0)),
}


@pytest.mark.parametrize("kind", BAD_INFOS)
def test_a_bad_camera_info_leaves_the_calibration_before_in_force(long_road: Road, kind: str):
    reason, make = BAD_INFOS[kind]
    road = long_road
    road.wait(STEP)
    before = road.dropped()
    road.send(INFO, make(road.now_ns))
    assert road.dropped() - before == Counter({reason: 1})
    results = road.send(IMAGE, image(road.now_ns))
    view = road.driver.view(results.cameras[0][0])
    assert view is not None and view.camera.K[0, 0] == 5.0


@pytest.mark.parametrize("topic", ["/tf", "/tf_static"])
@pytest.mark.parametrize("quaternion", [{"w": 0.0}, {"w": float("nan")}], ids=["zero", "nan"])
def test_a_bad_transform_is_counted_and_the_others_hold(
    long_road: Road, topic: str, quaternion: dict[str, float]
):
    road = long_road
    road.wait(STEP)
    before = road.dropped()
    road.send(topic, transform("base_link", "trailer", road.now_ns, **quaternion))
    assert road.dropped() - before == Counter({"bad_transform": 1})
    road.wait(STEP)
    road.send(IMAGE, image(road.now_ns))
    assert len(road.send(POINTS, sweep(road.now_ns)).fused) == 1


def test_points_that_are_not_finite_are_left_out_and_noted(long_road: Road):
    road = long_road
    road.wait(STEP)
    points = np.random.default_rng(0).uniform([2, -10, -1.7], [40, 10, 2], (200, 3))
    points[:50, 1] = np.nan
    points[50:60, 0] = np.inf
    before = road.dropped()
    road.send(IMAGE, image(road.now_ns))
    (fused,) = road.send(POINTS, sweep(road.now_ns, points=points)).fused
    assert len(fused.lidar.points) == 140 and np.isfinite(fused.lidar.points).all()
    assert road.dropped() == before
    assert road.source("lidar").noted["invalid_points"] == 1


def test_a_sweep_of_nothing_but_nan_is_fused_to_nothing(long_road: Road):
    road = long_road
    road.wait(STEP)
    road.send(IMAGE, image(road.now_ns))
    (fused,) = road.send(POINTS, sweep(road.now_ns, points=np.full((50, 3), np.nan))).fused
    assert len(fused.lidar.points) == 0 and fused.detections == ()


@pytest.mark.parametrize("topic", [IMAGE, POINTS])
def test_the_same_stamp_twice(long_road: Road, topic: str):
    road = long_road
    make = image if topic == IMAGE else sweep
    road.wait(STEP)
    before = road.dropped()
    road.send(topic, make(road.now_ns))
    road.send(topic, make(road.now_ns))
    assert (road.dropped() - before)["duplicate_stamp"] == 1
    road.wait(2 * SECOND)
    before = road.dropped()
    road.send(topic, make(road.now_ns))
    assert "duplicate_stamp" not in road.dropped() - before
