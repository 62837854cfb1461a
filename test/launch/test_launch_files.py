"""The launch files run for real: what they start, how they end, and what they say to wrong arguments."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from launched import Launch

pytest.importorskip("launch_ros", reason="launch_ros is not installed: it comes with ROS 2, from no registry")

from avperception.scenes import CONDITIONS, MIXED

NAMES = ("perception", "orin", "replay", "demo")

DESCRIBE = """
import sys
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch import LaunchContext

description = PythonLaunchDescriptionSource(sys.argv[1]).get_launch_description(LaunchContext())
for argument in description.get_launch_arguments():
    print(argument.name, "|", argument.description)
"""


def described(repository: Path, environment: dict[str, str], name: str) -> dict[str, str]:
    command = [sys.executable, "-c", DESCRIBE, str(repository / "launch" / f"{name}.launch.py")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return dict(line.split(" | ", 1) for line in result.stdout.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_is_described(repository: Path, environment: dict[str, str], name: str) -> None:
    arguments = described(repository, environment, name)
    assert {"config_file", "backend", "visualize", "log_level"} <= set(arguments)
    assert ("use_sim_time" in arguments) == (name in ("perception", "orin"))
    assert ("bag" in arguments) == (name == "replay")
    assert ({"rate", "loop", "qos_overrides"} <= set(arguments)) == (name in ("replay", "demo"))
    for argument, description in arguments.items():
        assert len(description) > 10 and description[0].isupper(), argument


def test_beside_sensors_the_nodes_start_and_ctrl_c_ends_them(
    repository: Path, environment: dict[str, str], launches: list[Launch], tmp_path: Path
) -> None:
    config = tmp_path / "rig.yaml"
    config.write_text(
        "/**:\n  ros__parameters:\n    cameras: [front]\n    detector.model: ''\n    segmenter.model: ''\n"
    )
    launch = Launch(repository / "launch" / "orin.launch.py", environment, f"config_file:={config}")
    launches.append(launch)
    assert launch.until(r"active: cameras front") < 30
    assert launch.interrupt() < 8
    assert launch.process.returncode == 0, launch.said
    assert "Traceback" not in launch.said
    assert launch.said.count("process has finished cleanly") == 2, launch.said


def test_a_recording_is_played_into_the_nodes_and_ends_the_launch(
    repository: Path, environment: dict[str, str], launches: list[Launch], road: Path
) -> None:
    demo = repository / "config" / "demo.yaml"
    launch = Launch(
        repository / "launch" / "replay.launch.py", environment, f"bag:={road}", f"config_file:={demo}"
    )
    launches.append(launch)
    launch.until(r"active: cameras front;")
    launch.until(r"road.mcap is over")
    assert launch.finish() == 0, launch.said
    assert "Traceback" not in launch.said and "process has died" not in launch.said
    assert launch.said.count("process has finished cleanly") == 3, launch.said


def test_the_synthetic_road_is_rendered_and_driven_along(
    repository: Path, environment: dict[str, str], launches: list[Launch], tmp_path: Path
) -> None:
    drive = ["seconds:=0.4", "frame_rate:=5.0"]
    kept_here = {**environment, "XDG_CACHE_HOME": str(tmp_path)}
    launch = Launch(repository / "launch" / "demo.launch.py", kept_here, *drive)
    launches.append(launch)
    launch.until(r"synthetic_road_\w+\.mcap: 0\.\d s")
    assert list((tmp_path / "avperception" / "demo").glob("*.mcap"))
    if "active: cameras front, left, right; detector demo_detector" not in launch.said:
        launch.until(r"active: cameras front, left, right; detector demo_detector")
    assert launch.interrupt() < 8
    assert launch.process.returncode == 0 and "Traceback" not in launch.said, launch.said
    assert launch.said.count("process has finished cleanly") == 3, launch.said


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("replay", ["bag:=/nowhere/drive.mcap"], "/nowhere/drive.mcap does not exist"),
        ("replay", [], "missing required argument 'bag'"),
        ("orin", ["config_file:=/nowhere/rig.yaml"], "cannot read config_file /nowhere/rig.yaml"),
        ("orin", ["backend:=cuda"], "onnxruntime"),
        ("demo", ["rate:=fast"], "rate:=fast is no number"),
        ("demo", ["seconds:=long"], "seconds:=long is no number"),
        ("demo", ["condition:=snow"], "'tunnel'"),
        ("demo", ["qos_overrides:=/nowhere/qos.yaml"], "cannot read qos_overrides /nowhere/qos.yaml"),
    ],
)
def test_a_wrong_argument_ends_the_launch_before_anything_is_started(
    repository: Path,
    environment: dict[str, str],
    launches: list[Launch],
    name: str,
    arguments: list[str],
    words: str,
) -> None:
    launch = Launch(repository / "launch" / f"{name}.launch.py", environment, *arguments)
    launches.append(launch)
    assert launch.finish() == 1, launch.said
    assert words in launch.said
    assert "process started" not in launch.said and "Traceback" not in launch.said


def test_a_recording_is_not_played_without_the_configuration_that_was_given(
    repository: Path, environment: dict[str, str], launches: list[Launch], road: Path
) -> None:
    arguments = (f"bag:={road}", "config_file:=~/nowhere/rig.yaml")
    launch = Launch(
        repository / "launch" / "replay.launch.py", {**environment, "HOME": "/home/me"}, *arguments
    )
    launches.append(launch)
    assert launch.finish() == 1, launch.said
    assert "cannot read config_file /home/me/nowhere/rig.yaml" in launch.said
    assert "process started" not in launch.said and "Traceback" not in launch.said


def test_all_conditions_of_the_road_can_be_chosen() -> None:
    from avperception.nodes.launching import ROAD_CONDITIONS

    assert [*CONDITIONS, MIXED] == ROAD_CONDITIONS


def test_a_prefix_of_the_command_line_is_used(
    repository: Path, environment: dict[str, str], launches: list[Launch]
) -> None:
    """As for a debugger: `ros2 launch --launch-prefix` sets this configuration."""
    path = repository / "launch" / "perception.launch.py"
    launch = Launch(path, environment, "launch-prefix:=echo prefixed")
    launches.append(launch)
    launch.until(r"prefixed \S+/perception --ros-args")
    assert launch.interrupt() < 8


def test_without_rviz_visualize_says_where_it_is_to_be_had(
    start_without_networks: Callable[..., Launch],
) -> None:
    launch = start_without_networks("visualize:=true")
    assert launch.interrupt() < 8
    if "[rviz2-" not in launch.said:
        assert "apt install ros-" in launch.said and "foxglove_layout.json" in launch.said
