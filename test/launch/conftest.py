"""What tests of launch files need: the tests' own nodes, and an ament prefix with this package."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from launched import Launch

from avperception.scenes import Scene, default_rig, write_recording

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


@pytest.fixture
def launches() -> Iterator[list[Launch]]:
    started: list[Launch] = []
    yield started
    for launch in started:
        if launch.process.poll() is None:
            launch.process.send_signal(signal.SIGINT)
            try:
                launch.finish(20)
            except subprocess.TimeoutExpired:
                launch.process.kill()


@pytest.fixture
def start_without_networks(
    repository: Path, environment: dict[str, str], launches: list[Launch], tmp_path: Path
) -> Callable[..., Launch]:
    """Launches perception.launch.py with further arguments, up to when the node works."""
    config = tmp_path / "rig.yaml"
    config.write_text("/**:\n  ros__parameters:\n    detector.model: ''\n    segmenter.model: ''\n")

    def start(*arguments: str, prefix: tuple[str, ...] = ()) -> Launch:
        path = repository / "launch" / "perception.launch.py"
        launch = Launch(path, environment, f"config_file:={config}", *arguments, prefix=prefix)
        launches.append(launch)
        launch.until("active: cameras")
        return launch

    return start


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of the synthetic road with one camera."""
    path = tmp_path_factory.mktemp("road") / "road.mcap"
    write_recording(Scene(3, "day", "straight", 0.6, default_rig(1, 32), 5.0), path, processes=1)
    return path
