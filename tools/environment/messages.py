"""Builds the message packages of interfaces/ on the ROS wheels of the virtual environment."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from environment.commands import run_logged
from environment.places import Places

INCLUDES = re.compile(r'(INTERFACE_INCLUDE_DIRECTORIES) "/opt/python/[^"]*"')
INCLUDES_OF_VENV = "import numpy, sysconfig; print(sysconfig.get_path('include') + ';' + numpy.get_include())"


def build_messages(places: Places, environment: dict[str, str]) -> None:
    """Build every package of interfaces/ and install it into the virtual environment."""
    correct_include_paths(places, environment)
    for package_xml in sorted(places.interfaces.glob("*/package.xml")):
        _build(package_xml.parent, places, environment)


def correct_include_paths(places: Places, environment: dict[str, str]) -> None:
    """Make the wheels' CMake files name this Python's and this NumPy's headers.

    They carry the paths of the machine that built them, and CMake refuses folders that do not exist.
    """
    command = [str(places.python), "-c", INCLUDES_OF_VENV]
    includes = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    replacement = f'\\1 "{includes.strip()}"'
    for file in places.venv.glob("share/*/cmake/*_rosidl_generator_pyExport.cmake"):
        text = file.read_text(encoding="utf-8")
        file.write_text(INCLUDES.sub(replacement, text), encoding="utf-8")


def _build(source: Path, places: Places, environment: dict[str, str]) -> None:
    build = places.work / source.name
    configure: list[str | Path] = ["cmake", "--fresh", "-G", "Ninja", "-S", source, "-B", build]
    configure += [
        f"-DCMAKE_PREFIX_PATH={places.venv}",
        f"-DCMAKE_INSTALL_PREFIX={places.venv}",
        f"-DPython3_EXECUTABLE={places.python}",
        "-DBUILD_TESTING=OFF",
    ]
    run_logged(configure, places.work / f"{source.name}-configure.log", environment)
    run_logged(["cmake", "--build", build], places.work / f"{source.name}-build.log", environment)
    run_logged(["cmake", "--install", build], places.work / f"{source.name}-install.log", environment)
