"""What has to be on the machine before set-up can start, and the Debian package that brings it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from pathlib import Path

from environment.errors import PrerequisiteError


def check_prerequisites(builds_messages: bool) -> None:
    """Raise PrerequisiteError with one message that names everything missing and how to install it."""
    if builds_messages:
        _check_platform()
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    missing = {}
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        missing[f"python{version}-venv"] = "Python's venv module"
    if builds_messages and not _python_headers().is_file():
        missing[f"python{version}-dev"] = "Python's headers"
    if builds_messages and shutil.which(os.environ.get("CXX", "g++")) is None:
        missing["g++"] = "a C++ compiler"
    if missing:
        things = " and ".join(missing.values())
        raise PrerequisiteError(f"{things} not found: sudo apt install {' '.join(missing)}")


def _check_platform() -> None:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise PrerequisiteError(
            f"ROS 2 comes as wheels for Linux on x86-64 only, this is {platform.system()} on "
            f"{platform.machine()}: install ROS 2 (Jazzy or Humble), source its setup.bash and run again"
        )


def _python_headers() -> Path:
    return Path(sysconfig.get_path("include")) / "Python.h"
