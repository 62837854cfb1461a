"""The built messages are the ones that every other ROS 2 system has."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2: run `make setup`")

from geometry_msgs.msg import Point, TransformStamped, Vector3  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.serialization import deserialize_message, serialize_message  # noqa: E402
from rosbags.typesys import Stores, get_typestore  # noqa: E402
from tf2_msgs.msg import TF2Error, TFMessage  # noqa: E402
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose  # noqa: E402

# Hashes that any build of vision_msgs 4.1 has: ../shared/design/ros_interface.md.
VISION_MSGS_HASHES = {
    "BoundingBox2D": "RIHS01_008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
    "BoundingBox3D": "RIHS01_bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698",
    "Detection2D": "RIHS01_0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "Detection2DArray": "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "Detection3D": "RIHS01_ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "Detection3DArray": "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    "LabelInfo": "RIHS01_3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "ObjectHypothesis": "RIHS01_51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "ObjectHypothesisWithPose": "RIHS01_41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "Point2D": "RIHS01_eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247",
    "Pose2D": "RIHS01_b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648",
    "VisionClass": "RIHS01_1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a",
}
DISCOVERY_SECONDS = 5.0


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("overlay_test", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def advertised_hash(node: Node, package: str, name: str) -> str:
    """The type hash that a publisher of `package`/`name` tells other processes."""
    message_class = getattr(importlib.import_module(f"{package}.msg"), name)
    topic = f"/overlay_test/{package}/{name}"
    publisher = node.create_publisher(message_class, topic, 1)
    try:
        deadline = time.monotonic() + DISCOVERY_SECONDS
        while not (endpoints := node.get_publishers_info_by_topic(topic)):
            assert time.monotonic() < deadline, f"{topic} was not discovered"
            time.sleep(0.01)
    finally:
        node.destroy_publisher(publisher)
    if not hasattr(endpoints[0], "topic_type_hash"):
        pytest.skip("ROS 2 Humble has no type hashes")
    return str(endpoints[0].topic_type_hash)


@pytest.mark.parametrize("name", VISION_MSGS_HASHES)
def test_vision_msgs_has_the_hash_of_version_4_1(node: Node, name: str) -> None:
    assert advertised_hash(node, "vision_msgs", name) == VISION_MSGS_HASHES[name]


@pytest.mark.parametrize("name", ["TFMessage", "TF2Error"])
def test_tf2_msgs_has_the_hash_that_rosbags_computes_for_jazzy(node: Node, name: str) -> None:
    expected = get_typestore(Stores.ROS2_JAZZY).hash_rihs01(f"tf2_msgs/msg/{name}")
    assert advertised_hash(node, "tf2_msgs", name) == expected


def test_every_interface_file_has_its_class(repository: Path) -> None:
    for file in (repository / "interfaces").glob("*/msg/*.msg"):
        module = importlib.import_module(f"{file.parent.parent.name}.msg")
        assert hasattr(module, file.stem), file


def test_a_detection_survives_serialization() -> None:
    hypothesis = ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = "pedestrian"
    hypothesis.hypothesis.score = 0.75
    hypothesis.pose.pose.position = Point(x=8.5, y=-1.8, z=0.9)
    hypothesis.pose.covariance[35] = 0.25
    detection = Detection3D(id="7", results=[hypothesis])
    detection.bbox.size = Vector3(x=0.9, y=0.6, z=1.8)
    message = Detection3DArray(detections=[detection])
    message.header.frame_id = "base_link"

    assert deserialize_message(serialize_message(message), Detection3DArray) == message


def test_a_transform_survives_serialization() -> None:
    transform = TransformStamped(child_frame_id="lidar")
    transform.transform.translation.z = 1.73
    message = TFMessage(transforms=[transform])

    assert deserialize_message(serialize_message(message), TFMessage) == message
    assert TF2Error.EXTRAPOLATION_ERROR == 3
