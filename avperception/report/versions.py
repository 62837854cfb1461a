"""What a report was made with: versions and the machine."""

from __future__ import annotations

import importlib
import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from avperception import __version__

_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt_rtx")
_CPU_INFO = Path("/proc/cpuinfo")


def versions() -> dict[str, str]:
    """Give the versions that results depend on and the machine, by name; without what is not installed."""
    found = {"avperception": __version__, "Python": platform.python_version()}
    if distribution := os.environ.get("ROS_DISTRO"):
        found["ROS 2"] = distribution
    for package in ("rclpy", *_RUNTIMES):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    for module in ("numpy", "cv2"):
        found[module] = str(importlib.import_module(module).__version__)
    found["machine"] = f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
    return found


def _processor() -> str:
    with suppress(OSError):
        for line in _CPU_INFO.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()
