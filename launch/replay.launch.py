"""Plays a recording with /clock into perception and its visualizer; cameras and lidar are found in it.

ros2 launch avperception replay.launch.py bag:=drive.mcap
"""

from launch.actions import OpaqueFunction

from avperception.nodes.launching import bag_arguments, common_arguments, playback_arguments, start_replay
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Start the nodes on simulated time, and the player once they listen; the launch ends with it."""
    return LaunchDescription(
        [
            *bag_arguments(),
            *playback_arguments(loop=False),
            *common_arguments("perception.yaml"),
            OpaqueFunction(function=start_replay),
        ]
    )
