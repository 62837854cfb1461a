from __future__ import annotations

from pathlib import Path

import pytest
from rosbags.typesys import get_types_from_msg

from avperception.bags.definitions import VISION_MSGS, typestore

# Of any build of vision_msgs 4.1 (`ros2 interface show` has no hash; rosidl writes it beside each .idl).
HASHES = {
    "BoundingBox2D": "008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
    "BoundingBox3D": "bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698",
    "Detection2D": "0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "Detection2DArray": "214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "Detection3D": "ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "Detection3DArray": "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    "LabelInfo": "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "ObjectHypothesis": "51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "ObjectHypothesisWithPose": "41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "Point2D": "eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247",
    "Pose2D": "b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648",
    "VisionClass": "1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a",
}


@pytest.mark.parametrize("name", HASHES)
def test_vision_msgs_have_the_hash_of_every_other_build(name: str) -> None:
    assert typestore().hash_rihs01(f"vision_msgs/msg/{name}") == f"RIHS01_{HASHES[name]}"


def test_the_hashes_are_those_of_the_interface_description(shared_dir: Path) -> None:
    text = (shared_dir / "design" / "ros_interface.md").read_text()
    for name, digest in HASHES.items():
        assert any(line.split() == [name, f"RIHS01_{digest}"] for line in text.splitlines()), name


def test_vision_msgs_are_those_the_package_builds_without_ros(repository: Path) -> None:
    built = {path.stem: path for path in (repository / "interfaces/vision_msgs/msg").glob("*.msg")}
    assert built.keys() == VISION_MSGS.keys()
    for name, path in built.items():
        msgtype = f"vision_msgs/msg/{name}"
        fields = get_types_from_msg(path.read_text(), msgtype)[msgtype][1]
        assert fields == typestore().fielddefs[msgtype][1], name


def test_the_types_of_the_nodes_topics_are_known() -> None:
    for msgtype in (
        "sensor_msgs/msg/Image",
        "sensor_msgs/msg/CompressedImage",
        "sensor_msgs/msg/CameraInfo",
        "sensor_msgs/msg/PointCloud2",
        "tf2_msgs/msg/TFMessage",
        "visualization_msgs/msg/MarkerArray",
        "diagnostic_msgs/msg/DiagnosticArray",
    ):
        assert msgtype in typestore().fielddefs
