"""config/avperception.rviz and the Foxglove layout, held against what the nodes really publish."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rclpy.parameter import Parameter
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from rig import Rig

from avperception.nodes.conversions.coloured_clouds import COLOURED_DTYPE
from avperception.nodes.conversions.markers import detection_markers
from avperception.nodes.conversions.results import DetectedObjects
from avperception.nodes.visualizer import Visualizer
from avperception.types import Detection3D

CAMERAS = ["front", "left", "right"]
"""Those of config/orin.yaml and config/demo.yaml."""

MESSAGE_TYPES = {
    "rviz_default_plugins/Image": "sensor_msgs/msg/Image",
    "rviz_default_plugins/PointCloud2": "sensor_msgs/msg/PointCloud2",
    "rviz_default_plugins/MarkerArray": "visualization_msgs/msg/MarkerArray",
}
"""What a display of rviz subscribes to."""


@dataclass(frozen=True)
class Published:
    """A topic of the nodes: its type and the QoS that is offered."""

    msgtype: str
    profile: QoSProfile


@pytest.fixture(scope="module")
def graph() -> Iterator[dict[str, Published]]:
    """All topics that an active perception node and its visualizer publish."""
    with Rig({"cameras": CAMERAS}) as rig:
        rig.start()
        visualizer = Visualizer(parameter_overrides=[Parameter("cameras", value=CAMERAS)])
        try:
            overlay = f"/visualizer/debug/{CAMERAS[-1]}/overlay"
            rig.spin_until(lambda: rig.companion.get_publishers_info_by_topic(overlay))
            found = {}
            for topic, types in rig.companion.get_topic_names_and_types():
                for info in rig.companion.get_publishers_info_by_topic(topic):
                    if info.node_name in ("perception", "visualizer"):
                        found[topic] = Published(types[0], info.qos_profile)
            yield found
        finally:
            visualizer.destroy_node()


@pytest.fixture(scope="module")
def rviz(repository: Path) -> dict[str, Any]:
    content = yaml.safe_load((repository / "config" / "avperception.rviz").read_text())
    return dict(content["Visualization Manager"])


@pytest.fixture(scope="module")
def displays(rviz: dict[str, Any]) -> list[dict[str, Any]]:
    return [display for display in rviz["Displays"] if "Topic" in display]


@pytest.fixture(scope="module")
def foxglove(repository: Path) -> dict[str, Any]:
    return dict(json.loads((repository / "config" / "foxglove_layout.json").read_text()))


def qos_of(topic: dict[str, Any]) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy[topic["History Policy"].upper().replace(" ", "_")],
        depth=topic["Depth"],
        reliability=ReliabilityPolicy[topic["Reliability Policy"].upper().replace(" ", "_")],
        durability=DurabilityPolicy[topic["Durability Policy"].upper().replace(" ", "_")],
        liveliness=LivelinessPolicy.AUTOMATIC,  # of which rviz's files say nothing
    )


def test_every_display_shows_a_topic_of_its_type(
    displays: list[dict[str, Any]], graph: dict[str, Published]
) -> None:
    for display in displays:
        topic = display["Topic"]["Value"]
        assert topic in graph, f"{display['Name']}: nobody publishes {topic}"
        assert graph[topic].msgtype == MESSAGE_TYPES[display["Class"]], display["Name"]
        assert display["Enabled"] is True and display["Value"] is True


def test_every_displays_qos_is_served(displays: list[dict[str, Any]], graph: dict[str, Published]) -> None:
    for display in displays:
        wanted = qos_of(display["Topic"])
        offered = graph[display["Topic"]["Value"]].profile
        verdict, reason = qos_check_compatible(offered, wanted)
        assert verdict == QoSCompatibility.OK, f"{display['Name']}: {reason}"
        assert 0 < wanted.depth <= 10


def test_all_that_is_worth_seeing_is_shown(displays: list[dict[str, Any]]) -> None:
    shown = {display["Topic"]["Value"] for display in displays}
    overlays = {f"/visualizer/debug/{camera}/overlay" for camera in CAMERAS}
    assert shown == overlays | {
        "/visualizer/markers",
        "/visualizer/points_coloured",
        "/perception/output/lanes",
    }
    assert len({display["Name"] for display in displays}) == len(displays)


def test_the_fixed_frame_is_the_frame_of_the_results(rviz: dict[str, Any], repository: Path) -> None:
    assert rviz["Global Options"]["Fixed Frame"] == rviz["Views"]["Current"]["Target Frame"] == "base_link"
    for name in ("orin.yaml", "demo.yaml", "perception.yaml"):
        parameters = yaml.safe_load((repository / "config" / name).read_text())["/**"]["ros__parameters"]
        assert parameters["target_frame"] == "base_link"
        assert name == "perception.yaml" or parameters["cameras"] == CAMERAS


def test_the_cloud_has_the_field_that_colours_it(displays: list[dict[str, Any]]) -> None:
    (cloud,) = (display for display in displays if display["Class"].endswith("PointCloud2"))
    assert cloud["Color Transformer"] == "RGB8" and "rgb" in (COLOURED_DTYPE.names or ())
    assert cloud["Position Transformer"] == "XYZ" and {"x", "y", "z"} <= set(COLOURED_DTYPE.names or ())


def test_the_namespaces_that_are_switched_on_are_those_of_the_markers(displays: list[dict[str, Any]]) -> None:
    moving = Detection3D(
        0, "car", 0.5, np.zeros(3), np.ones(3), 0.0, np.eye(6), (), np.zeros(0, np.int64), 1, np.ones(3)
    )
    markers = detection_markers(DetectedObjects(1, "base_link", (moving,))).markers
    made = {marker.ns for marker in markers if marker.ns}
    (boxes,) = (d for d in displays if d["Topic"]["Value"] == "/visualizer/markers")
    assert set(boxes["Namespaces"]) == made and all(boxes["Namespaces"].values())


def test_the_foxglove_layout_shows_topics_that_are_published(
    foxglove: dict[str, Any], graph: dict[str, Published]
) -> None:
    panels = foxglove["configById"]
    for name, panel in panels.items():
        if name.startswith("Image!"):
            topic = panel["imageMode"]["imageTopic"]
            assert graph[topic].msgtype == "sensor_msgs/msg/Image"
        elif name.startswith("DiagnosticSummary!"):
            assert graph[panel["topicToRender"]].msgtype == "diagnostic_msgs/msg/DiagnosticArray"
        else:
            assert name.startswith("3D!") and panel["followTf"] == "base_link"
            shown = {topic: graph[topic].msgtype for topic, how in panel["topics"].items() if how["visible"]}
            assert set(shown.values()) == set(MESSAGE_TYPES.values()) - {"sensor_msgs/msg/Image"}
    overlays = [
        panel["imageMode"]["imageTopic"] for name, panel in panels.items() if name.startswith("Image!")
    ]
    assert sorted(overlays) == [f"/visualizer/debug/{camera}/overlay" for camera in CAMERAS]


def test_the_foxglove_layout_has_a_place_for_every_panel(foxglove: dict[str, Any]) -> None:
    def leaves(node: Any) -> list[str]:
        return [node] if isinstance(node, str) else leaves(node["first"]) + leaves(node["second"])

    assert sorted(leaves(foxglove["layout"])) == sorted(foxglove["configById"])
