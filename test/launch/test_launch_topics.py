"""Which topics and cameras the launch files find in a configuration file and in a recording."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from avperception.bags import BagWriter, messages, typestore
from avperception.errors import BagError, ConfigurationError
from avperception.nodes.launch_topics import configured_sensors, recorded_sensors, remappings

STAMP_NS = 1_700_000_000_000_000_000


@pytest.mark.parametrize("name", ["orin.yaml", "demo.yaml"])
def test_a_configuration_that_comes_with_the_package_connects_every_input(
    repository: Path, name: str
) -> None:
    sensors = configured_sensors(repository / "config" / name)
    wanted = {"points"}
    for camera in sensors.parameters["cameras"]:
        wanted |= {f"{camera}/image_raw", f"{camera}/camera_info"}
    assert set(sensors.topics) == wanted
    assert len(sensors.parameters["cameras"]) == 3
    rules = dict(remappings(sensors))
    assert rules["perception/input/points"] == sensors.topics["points"]
    assert len(set(rules.values())) == len(rules)


def test_a_configuration_without_topics_leaves_the_inputs_where_they_are(repository: Path) -> None:
    sensors = configured_sensors(repository / "config" / "perception.yaml")
    assert sensors.parameters["cameras"] == ["front"] and remappings(sensors) == []


def test_the_nodes_own_section_goes_before_that_of_all_nodes(tmp_path: Path) -> None:
    file = tmp_path / "rig.yaml"
    content = {
        "/**": {"ros__parameters": {"cameras": ["left"]}},
        "/perception": {"ros__parameters": {"cameras": ["rear"]}},
        "launch": {"ros__parameters": {"topics": {"rear/image_raw/compressed": "/r/compressed"}}},
    }
    file.write_text(yaml.safe_dump(content))
    sensors = configured_sensors(file)
    assert sensors.parameters["cameras"] == ["rear"]
    assert remappings(sensors) == [("perception/input/rear/image_raw/compressed", "/r/compressed")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("launch: {ros__parameters: {topics: {rear/image_raw: /a}}}", "rear/image_raw.*front/camera_info"),
        ("launch: {ros__parameters: {topics: [a]}}", "map inputs to topics"),
        ("launch: [1]", "ros__parameters"),
        ("/**: {ros__parameters: 3}", "ros__parameters"),
        ("just words", "holds no parameters"),
        ("a: [", "is no YAML"),
        ("\x00", "is no YAML"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, content: str, words: str
) -> None:
    file = tmp_path / "rig.yaml"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=words) as raised:
        configured_sensors(file)
    assert "\n" not in str(raised.value) and str(file) in str(raised.value)


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        configured_sensors(tmp_path / "missing.yaml")


def test_a_recordings_cameras_and_lidar_are_found(tmp_path: Path) -> None:
    path = tmp_path / "drive.mcap"
    with BagWriter(path) as bag:
        bag.add_topic("/cam/rear/image_raw/compressed", "sensor_msgs/msg/CompressedImage")
        bag.add_topic("/cam/rear/camera_info", messages.CAMERA_INFO)
        bag.add_topic("/roof/points", messages.POINT_CLOUD)
        bag.add_topic("/word", "std_msgs/msg/String")
        bag.write("/word", STAMP_NS, typestore().types["std_msgs/msg/String"](data="x"))
    sensors = recorded_sensors(path)
    assert sensors.topics == {
        "rear/image_raw/compressed": "/cam/rear/image_raw/compressed",
        "rear/camera_info": "/cam/rear/camera_info",
        "points": "/roof/points",
    }
    assert sensors.parameters == {"cameras": ["rear"], "rear.transport": "compressed"}


def test_a_recording_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BagError, match="does not exist"):
        recorded_sensors(tmp_path / "missing.mcap")
