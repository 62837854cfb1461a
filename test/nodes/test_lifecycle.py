"""The node's states and topics."""

import os
import threading
import time
from pathlib import Path

import pytest
from lifecycle_msgs.msg import State
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rig import SUCCESS, Rig
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from vision_msgs.msg import Detection2DArray, LabelInfo

from avperception.errors import AvperceptionError

INPUTS = {
    "/perception/input/front/image_raw": "sensor_msgs/msg/Image",
    "/perception/input/front/camera_info": "sensor_msgs/msg/CameraInfo",
    "/perception/input/points": "sensor_msgs/msg/PointCloud2",
}
OUTPUTS = {
    "/perception/output/front/detections_2d": "vision_msgs/msg/Detection2DArray",
    "/perception/output/front/segmentation": "sensor_msgs/msg/Image",
    "/perception/output/front/label_info": "vision_msgs/msg/LabelInfo",
    "/perception/output/detections_3d": "vision_msgs/msg/Detection3DArray",
    "/perception/output/lanes": "visualization_msgs/msg/MarkerArray",
    "/perception/output/points_labelled": "sensor_msgs/msg/PointCloud2",
    "/perception/markers": "visualization_msgs/msg/MarkerArray",
}
ALWAYS = {
    "/tf": "tf2_msgs/msg/TFMessage",
    "/tf_static": "tf2_msgs/msg/TFMessage",
    "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
}
"""The topics of ros_interface.md."""


def image(stamp_s: int = 5) -> Image:
    message = Image(encoding="mono8", width=4, height=2, step=4, data=bytes(8))
    message.header.stamp.sec = stamp_s
    return message


def topics(rig: Rig) -> dict[str, str]:
    return {
        name: kind for name, kind in rig.topics().items() if name.startswith(("/perception/", "/tf", "/diag"))
    }


def without_lifecycle(found: dict[str, str]) -> dict[str, str]:
    return {name: kind for name, kind in found.items() if not name.endswith("/transition_event")}


def test_topics_come_and_go_with_the_states():
    with Rig() as rig:
        node = rig.node

        def settled(expected: dict[str, str]) -> None:
            rig.spin_until(lambda: without_lifecycle(topics(rig)) == expected, timeout_s=5)

        assert node._state_machine.current_state[0] == State.PRIMARY_STATE_UNCONFIGURED
        settled(ALWAYS)
        for _ in range(2):
            assert node.trigger_configure() == SUCCESS
            settled({**ALWAYS, **OUTPUTS})
            for _ in range(2):
                assert node.trigger_activate() == SUCCESS
                settled({**ALWAYS, **OUTPUTS, **INPUTS})
                assert node.trigger_deactivate() == SUCCESS
                settled({**ALWAYS, **OUTPUTS})
            assert node.trigger_cleanup() == SUCCESS
            settled(ALWAYS)


def test_an_image_is_worked_on_while_active_and_only_then():
    with Rig() as rig:
        rig.start()
        results = rig.collect(Detection2DArray, "/perception/output/front/detections_2d")
        images = rig.publisher(Image, "/perception/input/front/image_raw")
        rig.spin_until(lambda: rig.node.cameras[0].outputs[0].is_wanted)
        images.publish(image(5))
        rig.spin_until(lambda: results)
        assert results[0].header.stamp.sec == 5
        assert rig.node.trigger_deactivate() == SUCCESS
        images.publish(image(6))
        rig.spin_for(0.2)
        assert rig.node.trigger_activate() == SUCCESS
        rig.spin_until(images.get_subscription_count)
        images.publish(image(7))
        rig.spin_until(lambda: len(results) > 1)
        assert [message.header.stamp.sec for message in results] == [5, 7]


def test_images_are_segmented_while_somebody_wants_it():
    with Rig({"segmenter.model": "demo_segmenter"}) as rig:
        rig.start()
        camera = rig.node.cameras[0]
        images = rig.publisher(Image, "/perception/input/front/image_raw")
        images.publish(image(1))
        rig.spin_until(lambda: camera.source.processed == 1)
        assert "segmenter_network" not in camera.source.stage_samples_ms()
        masks = rig.collect(Image, "/perception/output/front/segmentation")
        rig.spin_until(lambda: camera.outputs[1].is_wanted)
        images.publish(image(2))
        rig.spin_until(lambda: masks and camera.source.processed == 2)
        assert len(camera.source.stage_samples_ms()["segmenter_network"]) == 1


def test_cleanup_ends_every_thread():
    with Rig() as rig:
        before = {thread.name for thread in threading.enumerate()}
        rig.start()
        assert {"front", "lidar", "fusion"} <= {thread.name for thread in threading.enumerate()}
        assert rig.node.trigger_deactivate() == SUCCESS
        assert rig.node.trigger_cleanup() == SUCCESS
        assert {thread.name for thread in threading.enumerate()} <= before


def test_destroying_an_active_node_ends_every_thread():
    with Rig() as rig:
        rig.start()
    assert not {"front", "lidar", "fusion"} & {thread.name for thread in threading.enumerate()}


def test_a_destroyed_node_is_seen_no_more():
    """Nobody who looks for a running one may find it, though a variable still holds it."""
    with Rig() as rig:
        rig.start()
        rig.spin_until(lambda: "perception" in rig.companion.get_node_names())
        rig.node.destroy_node()
        rig.spin_until(lambda: "perception" not in rig.companion.get_node_names())


@pytest.mark.parametrize("active", [True, False])
def test_shutdown_from_any_state(active: bool):
    with Rig() as rig:
        if active:
            rig.start()
        assert rig.node.trigger_shutdown() == SUCCESS
        assert rig.node._state_machine.current_state[0] == State.PRIMARY_STATE_FINALIZED
        rig.spin_until(lambda: without_lifecycle(topics(rig)) == ALWAYS, timeout_s=5)


def test_autostart_takes_both_steps():
    with Rig({"autostart": True}) as rig:
        rig.node.autostart()
        assert rig.node._state_machine.current_state[0] == State.PRIMARY_STATE_ACTIVE


def test_without_autostart_it_waits():
    with Rig({"autostart": False}) as rig:
        rig.node.autostart()
        rig.spin_for(0.1)
        assert rig.node._state_machine.current_state[0] == State.PRIMARY_STATE_UNCONFIGURED


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"detector.model": "yolo_unknown"}, "yolo_unknown"),
        ({"segmenter.model": "/nowhere/card.yaml"}, "/nowhere/card.yaml"),
        ({"detector.model": "twinlitenet"}, "twinlitenet"),
    ],
    ids=["unknown model", "no such card", "other task"],
)
def test_a_failed_configure_leaves_it_unconfigured_and_says_why(
    parameters: dict[str, object], reason: str, capfd: pytest.CaptureFixture[str]
):
    with Rig(parameters) as rig:
        assert rig.node.trigger_configure() == TransitionCallbackReturn.FAILURE
        assert rig.node._state_machine.current_state[0] == State.PRIMARY_STATE_UNCONFIGURED
        errors = [line for line in capfd.readouterr().err.splitlines() if "configure failed" in line]
        assert len(errors) == 1 and reason in errors[0]
        with pytest.raises(AvperceptionError, match=reason):
            rig.node.autostart()
        rig.spin_until(lambda: without_lifecycle(topics(rig)) == ALWAYS, timeout_s=5)


def test_a_network_file_that_is_missing_fails_configure_with_the_command_that_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AVPERCEPTION_MODELS", str(tmp_path))
    with (
        Rig({"detector.model": "yolox_nano"}) as rig,
        pytest.raises(AvperceptionError, match="models pull yolox_nano"),
    ):
        rig.node.autostart()


def test_a_configure_that_failed_can_succeed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_dir: Path
):
    monkeypatch.setenv("AVPERCEPTION_MODELS", str(tmp_path))
    with Rig({"detector.model": "yolox_nano", "threads": 1}) as rig:
        assert rig.node.trigger_configure() == TransitionCallbackReturn.FAILURE
        network = "yolox_nano_416.onnx"
        (tmp_path / network).symlink_to((shared_dir / "models" / network).resolve())
        assert rig.node.trigger_configure() == SUCCESS
        assert rig.node.trigger_activate() == SUCCESS


def test_several_cameras_have_their_own_topics():
    with Rig({"cameras": ["left", "rear/wide"], "left.transport": "compressed"}) as rig:
        rig.start()
        rig.spin_until(lambda: "/perception/input/points" in topics(rig), timeout_s=5)
        found = topics(rig)
        assert found["/perception/input/left/image_raw/compressed"] == "sensor_msgs/msg/CompressedImage"
        assert "/perception/input/left/image_raw" not in found
        assert found["/perception/input/rear/wide/image_raw"] == "sensor_msgs/msg/Image"
        assert found["/perception/output/left/detections_2d"] == "vision_msgs/msg/Detection2DArray"
        assert "/perception/output/front/detections_2d" not in found


def test_topics_can_be_remapped():
    rules = ["-r", "~/input/points:=/velodyne_points", "-r", "~/output/detections_3d:=/objects"]
    with Rig(ros_args=rules) as rig:
        rig.start()
        rig.spin_until(lambda: "/velodyne_points" in rig.topics(), timeout_s=5)
        assert rig.topics()["/objects"] == "vision_msgs/msg/Detection3DArray"
        assert "/perception/input/points" not in rig.topics()


def test_quality_of_service_is_that_of_the_interface():
    with Rig() as rig:
        rig.start()
        rig.spin_until(lambda: set(INPUTS) | set(OUTPUTS) <= set(topics(rig)), timeout_s=5)
        companion = rig.companion
        for topic in INPUTS:
            (info,) = companion.get_subscriptions_info_by_topic(topic)
            assert info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
            assert info.qos_profile.durability == DurabilityPolicy.VOLATILE
        for topic in OUTPUTS:
            (info,) = companion.get_publishers_info_by_topic(topic)
            latched = topic.endswith("label_info")
            assert info.qos_profile.reliability == ReliabilityPolicy.RELIABLE
            assert info.qos_profile.durability == (
                DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
            )
        depths = {t.topic_name: t.qos_profile.depth for t in rig.node.subscriptions if t.topic_name in INPUTS}
        assert depths == dict.fromkeys(INPUTS, 5)


def test_quality_of_service_can_be_overridden_per_topic():
    points, objects = "/perception/input/points", "/perception/output/detections_3d"
    overrides = {
        f"qos_overrides.{points}.subscription.reliability": "reliable",
        f"qos_overrides.{points}.subscription.depth": 17,
        f"qos_overrides.{objects}.publisher.reliability": "best_effort",
    }
    with Rig(overrides) as rig:
        for _ in range(2):  # the second configure must find the same
            rig.start()
            rig.spin_until(lambda: points in topics(rig) and objects in topics(rig), timeout_s=5)
            (info,) = rig.companion.get_subscriptions_info_by_topic(points)
            assert info.qos_profile.reliability == ReliabilityPolicy.RELIABLE
            (profile,) = [s.qos_profile for s in rig.node.subscriptions if s.topic_name == points]
            assert profile.depth == 17
            (info,) = rig.companion.get_publishers_info_by_topic(objects)
            assert info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
            (info,) = rig.companion.get_subscriptions_info_by_topic("/perception/input/front/image_raw")
            assert info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
            assert rig.node.trigger_deactivate() == SUCCESS
            assert rig.node.trigger_cleanup() == SUCCESS
            rig.spin_until(lambda: points not in topics(rig), timeout_s=5)


def test_garbage_on_the_wire_does_not_end_the_node():
    """Bytes that are no message of the topic's type: ROS drops them before the node sees them."""
    with Rig() as rig:
        rig.start()
        publishers = [
            rig.publisher(message_type, topic)
            for message_type, topic in (
                (Image, "/perception/input/front/image_raw"),
                (CameraInfo, "/perception/input/front/camera_info"),
                (PointCloud2, "/perception/input/points"),
            )
        ]
        for publisher in publishers:
            for junk in (
                b"\x00\x01\x00\x00",
                b"\x00\x01\x00\x00" + os.urandom(64),
                b"\x00\x01\x00\x00" + b"\xff" * 64,
            ):
                publisher.publish(junk)
                rig.spin_for(0.02)
        publishers[0].publish(image(9))
        rig.spin_until(lambda: rig.node.cameras[0].source.processed == 1)


def test_a_slow_consumer_does_not_slow_a_deactivation():
    with Rig() as rig:
        rig.start()
        images = rig.publisher(Image, "/perception/input/front/image_raw")
        for stamp_s in range(1, 30):
            images.publish(image(stamp_s))
        start = time.monotonic()
        assert rig.node.trigger_deactivate() == SUCCESS
        assert rig.node.trigger_cleanup() == SUCCESS
        assert time.monotonic() - start < 2.0


def test_label_info_reaches_a_late_subscriber(
    shared_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    network = "twinlitenet_360x640.onnx"
    (tmp_path / network).symlink_to((shared_dir / "models" / network).resolve())
    monkeypatch.setenv("AVPERCEPTION_MODELS", str(tmp_path))
    with Rig({"segmenter.model": "twinlitenet"}) as rig:
        rig.start()
        images = rig.publisher(Image, "/perception/input/front/image_raw")
        for stamp_s in (5, 6):
            images.publish(image(stamp_s))
            rig.spin_until(lambda stamp_s=stamp_s: rig.node.cameras[0].source.processed == stamp_s - 4)
        late = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        infos = rig.collect(LabelInfo, "/perception/output/front/label_info", late)
        rig.spin_until(lambda: infos)
        names = [entry.class_name for entry in infos[0].class_map]
        assert any("lane" in name for name in names) and any("drivable" in name for name in names)
