"""Starts the perception node with a parameter file; for sensors that publish already.

ros2 launch avperception perception.launch.py config_file:=my.yaml
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from avperception.paths import share_directory
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Set the shared-memory profile and start the node, which configures and activates itself."""
    config = Path(share_directory()) / "config"
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "config_file", default_value=str(config / "perception.yaml"), description="Parameters (YAML)."
            ),
            DeclareLaunchArgument(
                "use_sim_time", default_value="false", description="Take the time from /clock, for a bag."
            ),
            DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error."),
            # What this launch file starts publishes through shared memory; camera drivers need it as well.
            SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", str(config / "fastdds.xml")),
            LifecycleNode(
                package="avperception",
                executable="perception",
                name="perception",
                namespace="",
                parameters=[
                    LaunchConfiguration("config_file"),
                    {"use_sim_time": LaunchConfiguration("use_sim_time")},
                ],
                arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
                respawn=True,
                respawn_delay=2.0,
                output="screen",
            ),
        ]
    )
