"""Python, ROS 2 and how its messages travel; nothing of ROS is imported for it."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

from avperception.doctor.finding import Finding, note, ok, wrong
from avperception.nodes.transport import PROFILES_VARIABLE, profile_path, use_shared_memory_profile

DISTRIBUTIONS = ("humble", "jazzy")
"""The ROS 2 distributions that the package is tested with."""

PYTHONS = ((3, 10), (3, 13))
"""The oldest and the newest Python that the package is for."""

_MESSAGES = ("sensor_msgs", "vision_msgs", "visualization_msgs", "diagnostic_msgs", "cv_bridge")
_SET_UP = "make setup"


def examine_python() -> Iterator[Finding]:
    """Is this a Python that the package is for?"""
    version = f"{platform.python_version()}, {sys.executable}"
    if PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        yield ok("Python", version)
    else:
        yield wrong("Python", f"{version}: 3.10 to 3.13 is needed", "make setup PYTHON=python3.12")


def examine_ros(
    environment: Mapping[str, str] | None = None, shared_memory: Path = Path("/dev/shm")
) -> Iterator[Finding]:
    """Is ROS 2 here, with the messages that the node needs, and what carries them?"""
    environment = os.environ if environment is None else environment
    yield from _distribution(environment)
    missing = [name for name in _MESSAGES if find_spec(name) is None]
    if missing:
        distro = environment.get("ROS_DISTRO") or "jazzy"
        packages = " ".join(f"ros-{distro}-{name.replace('_', '-')}" for name in missing)
        command = f"sudo apt install {packages}" if Path(f"/opt/ros/{distro}").is_dir() else _SET_UP
        yield wrong("ROS messages", f"{', '.join(missing)} cannot be imported", command)
    else:
        yield ok("ROS messages", ", ".join(_MESSAGES))
    yield from _transport(environment, shared_memory)


def _distribution(environment: Mapping[str, str]) -> Iterator[Finding]:
    names = (str(found.metadata["Name"]) for found in distributions())
    wheels = [match[1] for name in names if (match := re.fullmatch(r"ros-(\w+)-rclpy", name))]
    distro = environment.get("ROS_DISTRO") or (wheels[0] if wheels else "")
    if find_spec("rclpy") is None:
        folders = sorted(Path("/opt/ros").glob("*/setup.bash"))
        command = f"source {folders[-1]}" if folders else _SET_UP
        yield wrong("ROS 2", "rclpy cannot be imported, so the node cannot run; replay neither", command)
    elif distro in DISTRIBUTIONS:
        yield ok("ROS 2", distro + (" from wheels" if wheels else ""))
    else:
        tested = " and ".join(DISTRIBUTIONS)
        yield note("ROS 2", f"{distro or 'of unknown distribution'}: tested are {tested}")


def _transport(environment: Mapping[str, str], shared_memory: Path) -> Iterator[Finding]:
    rmw = environment.get("RMW_IMPLEMENTATION", "")
    yield ok("RMW", rmw or "rmw_fastrtps_cpp, the default")
    # A copy: the node sets the profile for its own process, the doctor only looks.
    profile = use_shared_memory_profile(dict(environment), shared_memory)
    if profile.shared_memory:
        yield ok("shared memory", profile.detail)
    elif not rmw.startswith("rmw_fastrtps") and rmw:
        yield note("shared memory", f"{profile.detail}: see its own manual for large messages")
    else:
        command = f"export {PROFILES_VARIABLE}={profile_path()}"
        yield wrong("shared memory", f"{profile.detail}: large images get lost", command)
    if not environment.get(PROFILES_VARIABLE):
        yield note(
            "camera drivers",
            "messages are lost where images are published: every driver's process needs the profile too",
            f"export {PROFILES_VARIABLE}={profile_path()}",
        )
