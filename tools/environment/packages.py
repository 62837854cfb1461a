"""Creates the virtual environment and installs Python packages into it."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from environment.ament import index_project
from environment.commands import run_logged
from environment.places import Places

FOR_EVERYONE = ("runtime.txt", "optional.txt", "tensorrt.txt", "development.txt")
FOR_WHEELS = ("ros.txt", "messages.txt", "view.txt")


def create_venv(places: Places, environment: dict[str, str], system_packages: bool) -> None:
    """Make a new, empty virtual environment in the place of whatever was there."""
    python = getattr(sys, "_base_executable", sys.executable)  # sys.executable may be in the .venv that goes
    shutil.rmtree(places.venv, ignore_errors=True)
    options = ["--system-site-packages"] if system_packages else []
    run_logged([python, "-m", "venv", *options, places.venv], places.work / "venv.log", environment)


def install_pinned(places: Places, environment: dict[str, str]) -> None:
    """Install everything, ROS 2 wheels included, in the versions of constraints.txt."""
    wanted: list[str | Path] = []
    for name in (*FOR_EVERYONE, *FOR_WHEELS):
        wanted += ["--requirement", places.requirements / name]
    wanted += ["--constraint", places.requirements / "constraints.txt"]
    _pip_install(places, wanted, "packages", environment)
    stubs = places.requirements / "stubs.txt"
    _pip_install(places, ["--no-deps", "--requirement", stubs], "stubs", environment)


def install_missing(places: Places, environment: dict[str, str]) -> None:
    """Install what the system's own Python packages do not offer; those that it has stay as they are."""
    wanted = [line for name in FOR_EVERYONE for line in requirement_lines(places.requirements / name)]
    # cv_bridge has brought OpenCV, but Debian's package of it does not tell pip that it is there.
    wanted = [line for line in wanted if not line.startswith("opencv-python")]
    constraints = places.work / "constraints.txt"
    pinned = requirement_lines(places.requirements / "constraints.txt")
    constraints.write_text("\n".join([*_not_installed(pinned), *_numpy_of_the_system()]) + "\n")
    _pip_install(places, [*wanted, "--constraint", constraints], "packages", environment)


def install_project(places: Places, environment: dict[str, str]) -> None:
    """Install avperception so that the checkout itself is what runs."""
    options: list[str | Path] = ["--no-deps", "--no-build-isolation", "--editable", places.root]
    _pip_install(places, options, "project", environment)
    index_project(places)


def requirement_lines(file: Path) -> list[str]:
    """The requirements of a requirement file without comments and empty lines."""
    lines = (line.split("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def _pip_install(
    places: Places, arguments: Sequence[str | Path], log_name: str, environment: dict[str, str]
) -> None:
    command = [places.python, "-m", "pip", "install", "--no-input", "--progress-bar", "off", *arguments]
    run_logged(command, places.work / f"{log_name}.log", environment)


def _not_installed(pinned: list[str]) -> list[str]:
    return [line for line in pinned if _installed_version(re.split("[=;]", line)[0]) is None]


def _numpy_of_the_system() -> list[str]:
    """Keep NumPy's major version: the C extensions of the ROS installation were built against it."""
    version = _installed_version("numpy")
    return [f"numpy<{int(version.split('.')[0]) + 1}"] if version else []


def _installed_version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
