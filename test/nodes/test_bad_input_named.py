"""What is wrong with an input is named in `/diagnostics`, or refused in one line."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rig import Rig
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import String
from vision_msgs.msg import Detection3DArray

from avperception.errors import ConfigurationError

IMAGE, INFO, POINTS = (
    "/perception/input/front/image_raw",
    "/perception/input/front/camera_info",
    "/perception/input/points",
)
CAMERA, LIDAR, FUSION = "perception: front camera", "perception: lidar", "perception: fusion"


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig({"diagnostics.age_warn": 0.0}) as made:
        yield made.start()


def now_ns() -> int:
    return time.time_ns()


def stamped(message: Any, stamp_ns: int, frame_id: str = "front_camera_optical") -> Any:
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    message.header.frame_id = frame_id
    return message


def image(stamp_ns: int, encoding: str = "mono8", width: int = 4, **header: str) -> Image:
    bytes_per_pixel = {"mono8": 1, "bgr8": 3}[encoding]
    step = width * bytes_per_pixel
    message = Image(encoding=encoding, width=width, height=2, step=step, data=bytes(2 * step))
    return stamped(message, stamp_ns, **header)


def camera_info(stamp_ns: int, width: int = 4) -> CameraInfo:
    message = CameraInfo(width=width, height=2, distortion_model="plumb_bob", d=[0.0] * 5)
    message.k = [5.0, 0.0, 1.5, 0.0, 5.0, 0.5, 0.0, 0.0, 1.0]
    return stamped(message, stamp_ns)


def sweep(stamp_ns: int, frame_id: str = "base_link") -> PointCloud2:
    message = PointCloud2(height=1, width=2, point_step=12, row_step=24, data=bytes(24))
    message.fields = [PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate("xyz")]
    return stamped(message, stamp_ns, frame_id)


def value(status: DiagnosticStatus, key: str) -> str:
    return str(next(item.value for item in status.values if item.key == key))


class Fleet:
    """Listens to `/diagnostics` as an operator does."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._messages = rig.collect(DiagnosticArray, "/diagnostics")

    def wait_for(self, name: str, *words: str) -> DiagnosticStatus:
        """The first status of this name from now on that is no OK and has all these words in one line."""
        done = len(self._messages)

        def found() -> DiagnosticStatus | None:
            for message in self._messages[done:]:
                for status in message.status:
                    if status.name == name and all(word in status.message for word in words):
                        return status
            return None

        try:
            self._rig.spin_until(found, timeout_s=6.0)
        except AssertionError as error:
            said = [s.message for m in self._messages[done:] for s in m.status if s.name == name]
            raise AssertionError(f"{name} said {said}, nothing with {words}") from error
        status = found()
        assert status is not None and status.level != DiagnosticStatus.OK and "\n" not in status.message
        return status


def test_two_publishers_on_one_camera_topic(rig: Rig):
    fleet = Fleet(rig)
    rig.publisher(Image, IMAGE)
    other = Node("second_driver", use_global_arguments=False)
    try:
        other.create_publisher(Image, IMAGE, 10)
        fleet.wait_for(CAMERA, f"2 publishers on {IMAGE}", "/companion", "/second_driver")
    finally:
        other.destroy_node()


def test_a_camera_info_of_another_size_than_its_image(rig: Rig):
    fleet = Fleet(rig)
    images, infos, points = (
        rig.publisher(Image, IMAGE),
        rig.publisher(CameraInfo, INFO),
        rig.publisher(PointCloud2, POINTS),
    )
    stamp_ns = now_ns()
    infos.publish(camera_info(stamp_ns, width=8))
    rig.spin_until(lambda: rig.node.cameras[0].info_source.received)
    images.publish(image(stamp_ns, frame_id="base_link"))
    points.publish(sweep(stamp_ns))
    status = fleet.wait_for(FUSION, "1 camera_info_size_front")
    text = value(status, "last camera_info_size_front")
    assert "for 8x2 pixels" in text and "has 4x2" in text


def test_a_frame_that_tf_does_not_know(rig: Rig):
    fleet = Fleet(rig)
    images, infos, points = (
        rig.publisher(Image, IMAGE),
        rig.publisher(CameraInfo, INFO),
        rig.publisher(PointCloud2, POINTS),
    )
    stamp_ns = now_ns()
    infos.publish(camera_info(stamp_ns))
    images.publish(image(stamp_ns, frame_id="nowhere"))
    points.publish(sweep(stamp_ns))
    status = fleet.wait_for(FUSION, "1 no_transform_front")
    assert "'nowhere'" in value(status, "last no_transform_front")
    points.publish(sweep(now_ns(), frame_id="nowhere"))
    status = fleet.wait_for(LIDAR, "1 no_transform")
    assert "'nowhere'" in value(status, "last no_transform")


@pytest.mark.parametrize("change", [{"encoding": "bgr8"}, {"width": 6}, {"frame_id": "rear"}])
def test_images_that_change_while_it_runs(rig: Rig, change: dict[str, Any]):
    fleet = Fleet(rig)
    images = rig.publisher(Image, IMAGE)
    images.publish(image(now_ns()))
    images.publish(image(now_ns(), **change))
    fleet.wait_for(CAMERA, "1 image_changed")
    assert rig.node.cameras[0].source.processed == 2, "they are used all the same"


@pytest.mark.parametrize(("topic", "status"), [(IMAGE, CAMERA), (POINTS, LIDAR)])
def test_a_stamp_in_the_future_and_then_none_in_the_past(rig: Rig, topic: str, status: str):
    fleet = Fleet(rig)
    make = image if topic == IMAGE else sweep
    publisher = rig.publisher(type(make(0)), topic)
    publisher.publish(make(now_ns() + 3_600 * 10**9))
    fleet.wait_for(status, "1 future_stamp")
    publisher.publish(make(now_ns()))
    fleet.wait_for(status, "1 time_jump")


@pytest.mark.parametrize(("topic", "status"), [(IMAGE, CAMERA), (POINTS, LIDAR), (INFO, CAMERA)])
def test_a_stamp_of_zero(rig: Rig, topic: str, status: str):
    fleet = Fleet(rig)
    make = {IMAGE: image, POINTS: sweep, INFO: camera_info}[topic]
    rig.publisher(type(make(0)), topic).publish(make(0))
    fleet.wait_for(status, "1 ", "zero_stamp")


@pytest.mark.parametrize(
    ("topic", "other", "status"),
    [(IMAGE, CompressedImage, CAMERA), (INFO, Image, CAMERA), (POINTS, String, LIDAR)],
)
def test_a_publisher_of_another_type_than_the_node_takes(rig: Rig, topic: str, other: type[Any], status: str):
    """A remap on the driver's side: DDS connects the two never, and says nothing."""
    fleet = Fleet(rig)
    with another_process() as driver:
        driver.create_publisher(other, topic, 10)
        fleet.wait_for(status, topic, f"/msg/{other.__name__}", "/driver", "check the remaps")


def test_a_subscriber_of_another_type_than_the_node_publishes(rig: Rig):
    fleet = Fleet(rig)
    with another_process() as driver:
        topic = "/perception/output/detections_3d"
        driver.create_subscription(String, topic, lambda message: None, 10)
        fleet.wait_for(FUSION, topic, "std_msgs/msg/String", "/driver")


@contextmanager
def another_process() -> Iterator[Node]:
    """A node in a context of its own, for rcl allows a process but one type of each topic."""
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    node = Node("driver", context=context, use_global_arguments=False)
    try:
        yield node
    finally:
        node.destroy_node()
        context.shutdown()


def test_a_clock_that_nobody_publishes(rig: Rig):
    fleet = Fleet(rig)
    assert rig.set(use_sim_time=True).successful
    fleet.wait_for(FUSION, "use_sim_time", "/clock")


def test_a_remap_of_two_inputs_to_one_topic_is_refused_in_one_line():
    with Rig(ros_args=["-r", f"~/input/points:={IMAGE}"]) as rig:
        refused(rig, IMAGE, "sensor_msgs/msg/Image", "sensor_msgs/msg/PointCloud2")


def test_a_remap_of_an_output_to_a_topic_that_the_process_has_already_is_refused_in_one_line():
    with Rig(ros_args=["-r", "~/output/detections_3d:=/diagnostics"]) as rig:
        refused(rig, "/diagnostics", "vision_msgs/msg/Detection3DArray")


def test_a_remap_of_an_input_to_a_topic_that_the_process_has_already_is_refused_in_one_line():
    with Rig(ros_args=["-r", "~/input/points:=/detections"]) as rig:
        rig.companion.create_publisher(Detection3DArray, "/detections", 10)
        refused(rig, "/detections", "sensor_msgs/msg/PointCloud2")
        rig.spin_for(0.2)
        assert IMAGE not in rig.topics(), "a node that could not be activated listens to nothing"


def refused(rig: Rig, *words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        rig.node.autostart()
    said = str(caught.value)
    assert "\n" not in said and all(word in said for word in (*words, "check the remaps")), said
