import time
from collections.abc import Iterator
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rig import Rig
from sensor_msgs.msg import Image, PointCloud2
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection2DArray, Detection3DArray

CAMERA, LIDAR, ENGINES, FUSION = (
    "perception: front camera",
    "perception: lidar",
    "perception: engines",
    "perception: fusion",
)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made


def by_name(message: DiagnosticArray) -> dict[str, DiagnosticStatus]:
    return {status.name: status for status in message.status}


def values(status: DiagnosticStatus) -> dict[str, str]:
    return {item.key: item.value for item in status.values}


def now_image(**changes: object) -> Image:
    """A small image that is taken now."""
    message = Image(encoding="mono8", width=4, height=2, step=4, data=bytes(8))
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(time.time_ns(), 1_000_000_000)
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def newest(rig: Rig, messages: list[DiagnosticArray]) -> dict[str, DiagnosticStatus]:
    """The statuses of an array that is made from now on."""
    count = len(messages)
    rig.spin_until(lambda: len(messages) > count, timeout_s=5)
    return by_name(messages[-1])


def test_once_a_second_under_the_names_of_the_interface(rig: Rig):
    rig.start()
    messages = rig.collect(DiagnosticArray, "/diagnostics")
    rig.spin_until(lambda: messages, timeout_s=5)
    start = time.monotonic()
    rig.spin_until(lambda: len(messages) >= 3, timeout_s=5)
    assert 1.6 < time.monotonic() - start < 2.6
    for message in messages:
        assert set(by_name(message)) == {CAMERA, LIDAR, ENGINES, FUSION}
        assert all(status.hardware_id for status in message.status)
        assert message.header.stamp.sec > 1_600_000_000
    silent = by_name(messages[-1])
    for name in (CAMERA, LIDAR):
        assert silent[name].level == DiagnosticStatus.WARN and "nothing received" in silent[name].message
    assert silent[ENGINES].level == DiagnosticStatus.WARN and "no network" in silent[ENGINES].message


def test_counters_and_what_was_lost(rig: Rig):
    rig.start()
    messages = rig.collect(DiagnosticArray, "/diagnostics")
    images = rig.publisher(Image, "/perception/input/front/image_raw")
    images.publish(now_image())
    images.publish(now_image(encoding="32FC1"))
    rig.spin_until(lambda: rig.node.cameras[0].source.dropped)
    status = newest(rig, messages)[CAMERA]
    found = values(status)
    assert (found["received"], found["processed"], found["dropped unknown_encoding"]) == ("2", "1", "1")
    assert float(found["latency p50 [ms]"]) >= 0
    assert status.level == DiagnosticStatus.WARN and "1 unknown_encoding" in status.message
    assert "32FC1" in found["last unknown_encoding"]
    images.publish(now_image())
    rig.spin_until(lambda: rig.node.cameras[0].source.processed == 2)
    status = newest(rig, messages)[CAMERA]
    assert "unknown_encoding" not in status.message, "an old loss is a count, no warning"
    assert values(status)["dropped unknown_encoding"] == "1"


def test_a_source_that_falls_silent_is_a_warning(rig: Rig):
    rig.start()
    messages = rig.collect(DiagnosticArray, "/diagnostics")
    images = rig.publisher(Image, "/perception/input/front/image_raw")
    images.publish(now_image())
    rig.spin_until(lambda: rig.node.cameras[0].source.processed == 1)
    assert newest(rig, messages)[CAMERA].level == DiagnosticStatus.OK
    rig.spin_until(
        lambda: by_name(messages[-1])[CAMERA].message.startswith("nothing received for"), timeout_s=5
    )
    assert by_name(messages[-1])[CAMERA].level == DiagnosticStatus.WARN


def test_a_publisher_that_cannot_match_is_named():
    reliable = {"qos_overrides./perception/input/points.subscription.reliability": "reliable"}
    with Rig(reliable) as rig:
        rig.start()
        messages = rig.collect(DiagnosticArray, "/diagnostics")
        best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
        publisher = rig.companion.create_publisher(PointCloud2, "/perception/input/points", best_effort)
        rig.spin_until(
            lambda: messages and "incompatible QoS" in by_name(messages[-1])[LIDAR].message, timeout_s=6
        )
        status = by_name(messages[-1])[LIDAR]
        assert status.level == DiagnosticStatus.WARN
        assert "/perception/input/points" in status.message and "/companion" in status.message
        assert "incompatible" not in by_name(messages[-1])[CAMERA].message
        rig.companion.destroy_publisher(publisher)
        rig.spin_until(lambda: "incompatible" not in by_name(messages[-1])[LIDAR].message, timeout_s=6)


@pytest.mark.parametrize(
    ("overrides", "asked"),
    [
        ({}, {"durability": DurabilityPolicy.TRANSIENT_LOCAL}),
        (
            {"qos_overrides./perception/output/detections_3d.publisher.reliability": "best_effort"},
            {"reliability": ReliabilityPolicy.RELIABLE},
        ),
    ],
    ids=["latched", "overridden"],
)
def test_a_subscriber_that_gets_nothing_is_named(overrides: dict[str, str], asked: dict[str, Any]):
    with Rig(overrides) as rig:
        rig.start()
        messages = rig.collect(DiagnosticArray, "/diagnostics")
        rig.collect(Detection3DArray, "/perception/output/detections_3d", QoSProfile(depth=1, **asked))
        rig.spin_until(
            lambda: messages and "incompatible QoS" in by_name(messages[-1])[FUSION].message, timeout_s=6
        )
        status = by_name(messages[-1])[FUSION]
        assert status.level == DiagnosticStatus.WARN
        assert "/perception/output/detections_3d: /companion gets nothing" in status.message
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        rig.collect(Detection2DArray, "/perception/output/front/detections_2d", best_effort)
        seen = len(messages)
        rig.spin_until(lambda: len(messages) > seen + 1, timeout_s=6)
        assert "incompatible" not in by_name(messages[-1])[CAMERA].message, "less is asked than offered"


def test_a_static_transform_that_is_not_latched_is_named(rig: Rig):
    rig.start()
    messages = rig.collect(DiagnosticArray, "/diagnostics")
    rig.companion.create_publisher(TFMessage, "/tf", 10)
    rig.companion.create_publisher(TFMessage, "/tf_static", QoSProfile(depth=1))
    rig.spin_until(
        lambda: messages and "incompatible QoS" in by_name(messages[-1])[FUSION].message, timeout_s=6
    )
    status = by_name(messages[-1])[FUSION]
    assert "incompatible QoS on /tf_static: /companion (VOLATILE)" in status.message
    assert "/tf:" not in status.message and status.level == DiagnosticStatus.WARN


def test_what_is_asked_of_transforms_can_be_overridden():
    overrides = {
        "qos_overrides./tf_static.subscription.durability": "volatile",
        "qos_overrides./tf.subscription.reliability": "best_effort",
    }
    with Rig(overrides) as rig:
        rig.start()
        messages = rig.collect(DiagnosticArray, "/diagnostics")
        rig.publisher(TFMessage, "/tf_static", QoSProfile(depth=1)).publish(TFMessage())
        best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        rig.publisher(TFMessage, "/tf", best_effort).publish(TFMessage())
        rig.spin_until(lambda: rig.node.transform_source.received == 2)
        assert "incompatible" not in newest(rig, messages)[FUSION].message


def test_a_publisher_of_the_results_that_is_another_node(rig: Rig):
    rig.start()
    messages = rig.collect(DiagnosticArray, "/diagnostics")
    assert "twice" not in newest(rig, messages)[FUSION].message
    rival = Node("perception", use_global_arguments=False)
    try:
        rival.create_publisher(Detection3DArray, "/perception/output/detections_3d", 10)
        rig.companion.create_publisher(Detection2DArray, "/perception/output/front/detections_2d", 10)
        rig.spin_until(lambda: "twice" in by_name(messages[-1])[FUSION].message, timeout_s=6)
        found = newest(rig, messages)
        assert "another node is called /perception and publishes the same" in found[FUSION].message
        text = "rival publishers on /perception/output/front/detections_2d: /companion"
        assert text in found[CAMERA].message and "twice" not in found[CAMERA].message
    finally:
        rival.destroy_node()


def test_fusion_that_gets_nothing_is_not_ok(rig: Rig):
    rig.start()
    messages = rig.collect(DiagnosticArray, "/diagnostics")
    points = rig.publisher(PointCloud2, "/perception/input/points")

    def starved() -> bool:
        message = PointCloud2()
        message.header.frame_id = "nowhere"
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(time.time_ns(), 10**9)
        points.publish(message)
        return bool(messages) and "all sweeps are lost" in by_name(messages[-1])[FUSION].message

    rig.spin_until(starved)
    status = by_name(messages[-1])[FUSION]
    assert status.level == DiagnosticStatus.WARN and "no_transform" in status.message


def test_an_unconfigured_node_reports_too(rig: Rig):
    messages = rig.collect(DiagnosticArray, "/diagnostics")
    rig.spin_until(lambda: messages, timeout_s=5)
    assert set(by_name(messages[-1])) == {ENGINES}


def test_a_node_of_another_name_reports_under_it():
    with Rig(ros_args=["-r", "__ns:=/truck"]) as rig:
        messages = rig.collect(DiagnosticArray, "/diagnostics")
        rig.spin_until(lambda: messages, timeout_s=5)
        assert set(by_name(messages[-1])) == {"/truck/perception: engines"}


def test_limits_that_cross_at_the_start():
    with (
        pytest.raises(InvalidParameterValueException, match="must not be below"),
        Rig({"diagnostics.silence_warn": 20.0}),
    ):
        pass


def test_an_inactive_node_expects_nothing(rig: Rig):
    rig.node.trigger_configure()
    messages = rig.collect(DiagnosticArray, "/diagnostics")
    assert newest(rig, messages)[CAMERA].message == "inactive"
    rig.node.trigger_activate()
    message = newest(rig, messages)[CAMERA].message
    assert message == "nothing received yet on /perception/input/front/image_raw (no publisher)"
    rig.publisher(Image, "/perception/input/front/image_raw")
    message = newest(rig, messages)[CAMERA].message
    assert message == "nothing received yet on /perception/input/front/image_raw (published by /companion)"
    rig.node.trigger_deactivate()
    status = newest(rig, messages)[CAMERA]
    assert (status.level, status.message) == (DiagnosticStatus.OK, "inactive")
