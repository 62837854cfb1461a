"""Where tests find shared recordings, and the quiet corner of the network that ROS works in."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# Before any test imports rclpy: neither other ROS processes nor a second test run may meet these nodes.
# Domains up to 101 keep off the ports that Linux gives to other programs.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
ROS_LOGS = tempfile.TemporaryDirectory(prefix="avperception-ros-log-")
os.environ["ROS_LOG_DIR"] = ROS_LOGS.name
if os.environ.get("ROS_DISTRO") == "humble":
    os.environ["ROS_LOCALHOST_ONLY"] = "1"

# The same examples in every run, however slow: a suite that fails must fail again. Others are searched for by
# `pytest --hypothesis-profile=search`.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder with the shared recordings and networks; skips the test where there is none."""
    folder = Path(os.environ.get("AVPERCEPTION_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared recordings in {folder}: set AVPERCEPTION_SHARED to their folder")
    return folder
