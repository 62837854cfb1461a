"""Drives along the synthetic road, with three cameras and a lidar; no sensors, no downloads.

ros2 launch avperception demo.launch.py
"""

from launch.actions import OpaqueFunction

from avperception.nodes.launching import (
    common_arguments,
    playback_arguments,
    road_arguments,
    road_rate,
    start_demo,
)
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    """Start the nodes with the package's own networks; the road is rendered on first use, then played."""
    return LaunchDescription(
        [
            *road_arguments(),
            *playback_arguments(loop=True, rate=road_rate()),
            *common_arguments("demo.yaml"),
            OpaqueFunction(function=start_demo),
        ]
    )
