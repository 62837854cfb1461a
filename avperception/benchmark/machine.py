"""What a record says about the machine, the versions and the networks."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib import metadata
from typing import Any

from avperception import __version__
from avperception.benchmark.options import Subject
from avperception.engines.machine import current_machine

PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "cupy-cuda13x", "cupy-cuda12x", "torch")


def describe(subject: Subject) -> dict[str, Any]:
    """Device, driver, versions and model hashes."""
    machine = current_machine()
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "avperception": __version__,
        "gpu": machine.gpu.name if machine.gpu else None,
        "compute_capability": machine.gpu.compute_capability if machine.gpu else None,
        "driver": machine.driver,
        "cuda": machine.cuda,
        "cpu": _processor(),
        "cpu_cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "networks": {
            role: {
                "model": network.card.name,
                "sha256": network.card.sha256,
                "engine": network.engine.description,
            }
            for role, network in subject.networks.items()
        },
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
