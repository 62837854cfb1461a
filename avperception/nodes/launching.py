"""What the launch files have in common: their arguments, and the nodes that they start."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    LogInfo,
    SetEnvironmentVariable,
)
from launch.launch_context import LaunchContext
from launch.logging import get_logger
from launch_ros.actions import LifecycleNode, Node

from avperception.errors import ConfigurationError
from avperception.nodes.launch_endings import (
    interrupt_between_steps,
    when_over,
    when_refused,
    when_started,
)
from avperception.nodes.launch_topics import Sensors, configured_sensors, recorded_sensors, remappings
from avperception.nodes.transport import PROFILES_VARIABLE, use_shared_memory_profile
from avperception.paths import share_directory

PACKAGE = "avperception"
AS_CONFIGURED = "configured"
RESPAWN_DELAY_S = 2.0
CORES_FOR_FULL_SPEED = 6
ROAD_CONDITIONS = ["day", "dusk", "night", "rain", "fog", "tunnel", "mixed"]
_PREFIX = ["env", "--block-signal=INT,TERM", "setpriv", "--pdeathsig", "INT"]
_SWITCH = ["true", "false"]


def common_arguments(config_file: str) -> list[Action]:
    """Declare the arguments of every launch file; `config_file` names the default in config/."""
    return [
        DeclareLaunchArgument(
            "config_file",
            default_value=str(_config(config_file)),
            description="Parameters of the nodes (YAML), and in its section `launch` the sensors' topics.",
        ),
        DeclareLaunchArgument(
            "backend",
            default_value=AS_CONFIGURED,
            choices=[AS_CONFIGURED, "auto", "tensorrt", "onnxruntime"],
            description=f"Runtime of the networks; {AS_CONFIGURED}: what config_file says.",
        ),
        DeclareLaunchArgument(
            "visualize",
            default_value="false",
            choices=_SWITCH,
            description="Show cameras, boxes, lanes and points in rviz2.",
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="Least severity of what the nodes log.",
        ),
    ]


def sim_time_argument() -> Action:
    """Declare where nodes beside live sensors take the time from."""
    return DeclareLaunchArgument(
        "use_sim_time",
        default_value="false",
        choices=_SWITCH,
        description="Take the time from /clock, which a simulator publishes.",
    )


def bag_arguments() -> list[Action]:
    """Declare what is to be played; `bag` has to be given."""
    return [
        DeclareLaunchArgument("bag", description="The recording: a rosbag2 folder, a .mcap or a .db3 file."),
        DeclareLaunchArgument(
            "points", default_value="", description="Topic of the lidar, where the recording has several."
        ),
    ]


def playback_arguments(loop: bool, rate: float = 1.0) -> list[Action]:
    """Declare how a recording is played, with the defaults of these arguments."""
    return [
        DeclareLaunchArgument(
            "rate",
            default_value=str(rate),
            description="Speed of playing, as a multiple of the recorded one.",
        ),
        DeclareLaunchArgument(
            "loop",
            default_value=str(loop).lower(),
            choices=_SWITCH,
            description="Begin again at the recording's end, until Ctrl-C; else the launch ends with it.",
        ),
        DeclareLaunchArgument(
            "qos_overrides",
            default_value="",
            description="Parameter file with qos_overrides.TOPIC.* of the player or the nodes.",
        ),
    ]


def road_rate() -> float:
    """How fast the synthetic road is played by default: three cameras are much for a few CPU cores."""
    return 1.0 if (os.cpu_count() or 1) >= CORES_FOR_FULL_SPEED else 0.5


def road_arguments() -> list[Action]:
    """Declare which drive on the synthetic road it is to be; the names are those of its player's options."""
    return [
        DeclareLaunchArgument(
            "condition", default_value="day", choices=ROAD_CONDITIONS, description="Light and weather."
        ),
        DeclareLaunchArgument("seed", default_value="7", description="Another number is another road."),
        DeclareLaunchArgument("seconds", default_value="6.0", description="Length of the drive."),
        DeclareLaunchArgument("frame_rate", default_value="5.0", description="Images and sweeps a second."),
    ]


def start_perception(context: LaunchContext) -> list[Action]:
    """Start the nodes beside sensors that publish already."""
    sensors = configured_sensors(Path(_argument(context, "config_file")))
    return _nodes(context, sensors, use_sim_time=_argument(context, "use_sim_time") == "true")


def start_replay(context: LaunchContext) -> list[Action]:
    """Start the nodes with the cameras and the lidar of a recording, and its player."""
    bag = Path(_argument(context, "bag")).expanduser()
    sensors = recorded_sensors(bag, _argument(context, "points") or None)
    player = _player(context, "bag_player", sensors, {"bag": str(bag)})
    return [*_nodes(context, sensors, use_sim_time=True), when_started(player), player, when_over(player)]


def start_demo(context: LaunchContext) -> list[Action]:
    """Start the nodes, and the player of the synthetic road, which renders it on first use."""
    sensors = configured_sensors(Path(_argument(context, "config_file")))
    options = [f"--cameras={len(sensors.parameters['cameras'])}"]
    options.append(f"--condition={_argument(context, 'condition')}")
    for name in ("seed", "seconds", "frame_rate"):
        _number(context, name)
        options.append(f"--{name.replace('_', '-')}={_argument(context, name)}")
    player = _player(context, "synthetic_road", sensors, {}, options)
    return [*_nodes(context, sensors, use_sim_time=True), when_started(player), player, when_over(player)]


def _nodes(context: LaunchContext, sensors: Sensors, use_sim_time: bool) -> list[Action]:
    """The perception node, which is started again if it dies, its visualizer, and rviz2 if it is wanted."""
    interrupt_between_steps()
    parameters = {**sensors.parameters, "use_sim_time": use_sim_time}
    if _argument(context, "backend") != AS_CONFIGURED:
        parameters["backend"] = _argument(context, "backend")
    common: dict[str, Any] = {
        "package": PACKAGE,
        "namespace": "",
        "remappings": remappings(sensors),
        "parameters": [_file(context, "config_file"), *_qos_overrides(context), parameters],
        "ros_arguments": ["--log-level", _argument(context, "log_level")],
        "prefix": _prefix(context),
        "respawn": True,
        "respawn_delay": RESPAWN_DELAY_S,
        "output": "screen",
    }
    perception = LifecycleNode(executable="perception", name="perception", exec_name="perception", **common)
    visualizer = Node(executable="visualizer", name="visualizer", exec_name="visualizer", **common)
    nodes = [perception, visualizer]
    watches = [watch for node in nodes for watch in (when_refused(node), when_started(node))]
    return [*_shared_memory(), *watches, *nodes, *_rviz(context, use_sim_time)]


def _player(
    context: LaunchContext,
    executable: str,
    sensors: Sensors,
    parameters: Mapping[str, Any],
    options: list[str] | None = None,
) -> Node:
    """The node that plays a recording once every sensor's topic has its subscriber."""
    playing = {
        **parameters,
        "rate": _number(context, "rate"),
        "loop": _argument(context, "loop") == "true",
        "wait_for": sorted(sensors.topics.values()) or [""],
    }
    return Node(
        package=PACKAGE,
        executable=executable,
        exec_name=executable,
        prefix=_prefix(context),
        name="bag_player",
        namespace="",
        parameters=[*_qos_overrides(context), playing],
        arguments=options or [],
        output="screen",
    )


def _prefix(context: LaunchContext) -> str | None:
    """Let no node outlive its launch, and let Ctrl-C wait until the executable has its handlers.

    `ros2 launch` loses processes that it was about to start, and all when it is killed; while Python starts
    Ctrl-C would be a traceback. What `ros2 launch --launch-prefix` gives, a debugger say, comes first.
    """
    if context.launch_configurations.get("launch-prefix") or not _can_prefix():
        return None
    return " ".join(_PREFIX)


@cache
def _can_prefix() -> bool:
    try:
        return subprocess.run([*_PREFIX, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _rviz(context: LaunchContext, use_sim_time: bool) -> list[Action]:
    if _argument(context, "visualize") != "true":
        return []
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        get_logger(PACKAGE).error(
            "visualize:=true needs rviz2, which is not installed: sudo apt install ros-$ROS_DISTRO-rviz2, "
            f"or open {_config('foxglove_layout.json')} in Foxglove"
        )
        return []
    return [
        Node(
            package="rviz2",
            executable="rviz2",
            arguments=["-d", str(_config("avperception.rviz"))],
            parameters=[{"use_sim_time": use_sim_time}],
            output="log",
        )
    ]


def _shared_memory() -> list[Action]:
    """Let all processes started here talk through config/fastdds.xml, where there is room for it."""
    environment = dict(os.environ)
    profile = use_shared_memory_profile(environment)
    actions: list[Action] = [LogInfo(msg=profile.detail)]
    if profile.shared_memory:
        # Camera drivers started elsewhere need it as well: docs/transport.md.
        actions.append(SetEnvironmentVariable(PROFILES_VARIABLE, environment[PROFILES_VARIABLE]))
    return actions


def _qos_overrides(context: LaunchContext) -> list[str]:
    wanted = context.launch_configurations.get("qos_overrides", "")
    return [_file(context, "qos_overrides")] if wanted else []


def _file(context: LaunchContext, name: str) -> str:
    """Give the path of a parameter file; launch_ros would go on without one that is not there."""
    path = Path(_argument(context, name)).expanduser()
    if not path.is_file():
        raise ConfigurationError(f"cannot read {name} {path}: there is no such file")
    return str(path)


def _argument(context: LaunchContext, name: str) -> str:
    return str(context.launch_configurations[name])


def _number(context: LaunchContext, name: str) -> float:
    text = _argument(context, name)
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"{name}:={text} is no number") from None


def _config(name: str) -> Path:
    return share_directory() / "config" / name
