"""Large messages through rcl's own functions, between real nodes."""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from line import Line, picture
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, PointCloud2, PointField

from avperception.nodes.conversions.images import serialized_image
from avperception.nodes.serialized import Rcl


def test_images_come_as_they_were_sent(line: Callable[[type[Any]], Line]) -> None:
    images = line(Image)
    sent = [picture(seed) for seed in range(3)]
    for message in sent:
        images.publisher.publish(message)
    images.spin(lambda: len(images.taken) == 3)
    for message, taken in zip(sent, images.taken, strict=True):
        assert (taken.header.stamp.sec, taken.header.stamp.nanosec) == (message.header.stamp.sec, 5)
        assert (taken.header.frame_id, taken.encoding) == ("front", "rgb8")
        assert (taken.height, taken.width, taken.step) == (40, 60, 180)
        assert taken.data.tobytes() == bytes(message.data)
    assert not images.bad


def test_clouds_come_with_their_fields(line: Callable[[type[Any]], Line]) -> None:
    clouds = line(PointCloud2)
    points = np.arange(12, dtype=np.float32)
    message = PointCloud2(height=1, width=4, point_step=12, row_step=48, data=points.tobytes())
    message.fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate("xyz")
    ]
    clouds.publisher.publish(message)
    clouds.spin(lambda: bool(clouds.taken))
    (taken,) = clouds.taken
    assert [(f.name, f.offset, f.datatype) for f in taken.fields] == [
        ("x", 0, PointField.FLOAT32), ("y", 4, PointField.FLOAT32), ("z", 8, PointField.FLOAT32)
    ]  # fmt: skip
    assert np.array_equal(taken.data.view(np.float32), points)


@pytest.mark.parametrize("size", [4, 20, 70, 3000])
def test_a_message_that_is_cut_off_is_told_of_and_the_next_one_comes(
    line: Callable[[type[Any]], Line], rcl: Rcl, size: int
) -> None:
    images = line(Image)
    whole = np.frombuffer(serialize_message(picture(1)), np.uint8)
    rcl.publish(images.publisher, whole[:size].copy())
    images.spin(lambda: bool(images.bad))
    assert images.bad[0].reason == "malformed" and "\n" not in str(images.bad[0])
    rcl.publish(images.publisher, whole)
    images.spin(lambda: bool(images.taken))
    assert len(images.bad) == len(images.taken) == 1


def test_pixels_outlive_the_subscription_and_go_with_the_last_who_looks(
    line: Callable[[type[Any]], Line],
) -> None:
    images = line(Image)
    images.publisher.publish(picture(7))
    images.spin(lambda: bool(images.taken))
    images.close()
    pixels = images.taken.pop().data.reshape(40, -1)[10:20]
    gc.collect()
    assert pixels.tobytes() == bytes(picture(7).data)[10 * 180 : 20 * 180]


def test_memory_is_given_back(line: Callable[[type[Any]], Line]) -> None:
    images = line(Image)
    large = picture(3, 1000, 1000)

    def pass_on(count: int) -> None:
        for _ in range(count):
            images.publisher.publish(large)
            images.spin(lambda: bool(images.taken))
            images.taken.clear()

    pass_on(20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pass_on(100)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 100_000, "a hundred messages of 3 MB"


@pytest.mark.parametrize("frame_id", ["", "a", "cam", "front_camera_optical"])
@pytest.mark.parametrize(("shape", "encoding"), [((3, 5), "mono8"), ((7, 4, 3), "rgb8")])
def test_an_image_is_serialized_as_ros_does_it(frame_id: str, shape: tuple[int, ...], encoding: str) -> None:
    pixels = np.random.default_rng(len(frame_id)).integers(0, 256, shape, np.uint8)
    data = serialized_image(pixels, encoding, 1_700_000_000_123_456_789, frame_id)
    message = deserialize_message(data.tobytes(), Image)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1_700_000_000, 123_456_789)
    assert (message.header.frame_id, message.encoding) == (frame_id, encoding)
    assert (message.height, message.width, message.step) == (*shape[:2], pixels[0].nbytes)
    assert bytes(message.data) == pixels.tobytes() and not message.is_bigendian
