"""Starts perception on a Jetson Orin: cameras, lidar, engines and precision are in config/orin.yaml.

ros2 launch avperception orin.launch.py
"""

from launch.actions import OpaqueFunction

from avperception.nodes.launching import common_arguments, sim_time_argument, start_perception
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Start what perception.launch.py starts, with the settings of a Jetson Orin."""
    return LaunchDescription(
        [
            *common_arguments("orin.yaml"),
            sim_time_argument(),
            OpaqueFunction(function=start_perception),
        ]
    )
