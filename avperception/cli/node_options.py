"""Options that several commands hand on to the perception node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avperception.errors import ConfigurationError


def chosen_networks(detector: str | None, segmenter: str | None) -> dict[str, Any]:
    """The node's parameters for the networks that were named; those left out keep their defaults."""
    named = {"detector.model": detector, "segmenter.model": segmenter}
    return {name: value for name, value in named.items() if value is not None}


def parameter_file(path: Path | None) -> tuple[str, ...]:
    """ROS arguments for a parameter file; raises ConfigurationError if it is not there."""
    if path is None:
        return ()
    if not path.is_file():
        raise ConfigurationError(f"the parameter file {path} does not exist")
    return ("--params-file", str(path))
