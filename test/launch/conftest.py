"""What tests of launch files need: the tests' own nodes, and an ament prefix with this package."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "nodes"))

EXECUTABLES = ("perception", "visualizer", "bag_player", "synthetic_road")


@pytest.fixture(scope="session")
def ament_prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix as colcon installs it: executables of this checkout, and the package's mark in the index."""
    prefix = tmp_path_factory.mktemp("prefix")
    index = prefix / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "avperception").touch()
    folder = prefix / "lib" / "avperception"
    folder.mkdir(parents=True)
    for name in EXECUTABLES:
        script = folder / name
        module = "avperception.nodes.executables"
        script.write_text(f"#!{sys.executable}\nfrom {module} import {name}\n\n{name}()\n")
        script.chmod(0o755)
    return prefix


@pytest.fixture(scope="session")
def environment(ament_prefix: Path) -> dict[str, str]:
    """The environment of a launch."""
    paths = [str(ament_prefix), os.environ.get("AMENT_PREFIX_PATH", "")]
    return {
        **os.environ,
        "AMENT_PREFIX_PATH": os.pathsep.join(path for path in paths if path),
        "PYTHONUNBUFFERED": "1",
    }
