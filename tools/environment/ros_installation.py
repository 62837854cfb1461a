"""Finds the ROS 2 installation of the shell, if one is sourced, and what avperception needs of it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from environment.errors import PrerequisiteError

PACKAGES = (
    "rclpy",
    "cv_bridge",
    "diagnostic_msgs",
    "geometry_msgs",
    "lifecycle_msgs",
    "sensor_msgs",
    "std_msgs",
    "tf2_msgs",
    "vision_msgs",
    "visualization_msgs",
)


@dataclass(frozen=True)
class RosInstallation:
    """A sourced ROS 2 installation: its distribution and the folders it was sourced from."""

    distribution: str
    prefixes: str


def sourced_installation(variables: Mapping[str, str]) -> RosInstallation | None:
    """The ROS 2 installation that `variables` (the environment) point to, None if there is none.

    Raises PrerequisiteError if it is not usable from this Python or lacks packages.
    """
    distribution, prefixes = variables.get("ROS_DISTRO", ""), variables.get("AMENT_PREFIX_PATH", "")
    if not (distribution and prefixes):
        return None
    if not _importable("rclpy"):
        raise PrerequisiteError(
            f"ROS 2 {distribution} is sourced, but its rclpy is not made for {sys.executable} (Python "
            f"{sys.version_info[0]}.{sys.version_info[1]}): run `make setup PYTHON=/usr/bin/python3`, "
            "or use a shell without ROS to have wheels installed"
        )
    missing = [name for name in PACKAGES if not _importable(name)]
    if missing:
        debian = " ".join(f"ros-{distribution}-{name.replace('_', '-')}" for name in missing)
        raise PrerequisiteError(
            f"ROS 2 {distribution} is sourced, but lacks {', '.join(missing)}: sudo apt install {debian}"
        )
    return RosInstallation(distribution, prefixes)


def _importable(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
