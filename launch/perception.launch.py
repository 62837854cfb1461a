"""Starts perception and its visualizer beside sensors that publish already.

ros2 launch avperception perception.launch.py config_file:=my.yaml
"""

from launch.actions import OpaqueFunction

from avperception.nodes.launching import common_arguments, sim_time_argument, start_perception
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Start the lifecycle node `perception`, the node `visualizer`, and rviz2 if it is wanted."""
    return LaunchDescription(
        [
            *common_arguments("perception.yaml"),
            sim_time_argument(),
            OpaqueFunction(function=start_perception),
        ]
    )
