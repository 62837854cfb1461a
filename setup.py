"""Installs avperception, for pip and for colcon (`ament_python`)."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent  # colcon --symlink-install runs a link to this file
NAME = "avperception"
SHARE = Path("share") / NAME
SHARED_FOLDERS = ("launch", "config", "engines")


def version() -> str:
    source = (ROOT / NAME / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE)[1]


def requirements(file: str) -> list[str]:
    lines = (ROOT / "requirements" / file).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def shared_files() -> list[tuple[str, list[str]]]:
    """(folder below the prefix, files) for every folder of launch/, config/ and engines/."""
    found: dict[Path, list[str]] = {}
    for folder in SHARED_FOLDERS:
        for file in sorted((ROOT / folder).rglob("*")):
            relative = file.relative_to(ROOT)
            if file.is_file() and not any(part.startswith((".", "__pycache__")) for part in relative.parts):
                found.setdefault(SHARE / relative.parent, []).append(str(relative))
    return [(str(folder), files) for folder, files in found.items()]


setup(
    name=NAME,
    version=version(),
    description="Real-time camera and lidar perception for ROS 2: objects in 2D and 3D, lanes, drivable area",
    author="avperception developers",
    author_email="avperception@users.noreply.github.com",
    maintainer="avperception developers",
    maintainer_email="avperception@users.noreply.github.com",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed"], f"{NAME}.report": ["*.jinja"], f"{NAME}.ops": ["kernels/*.cu*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (str(SHARE), ["package.xml"]),
        *shared_files(),
    ],
    install_requires=requirements("runtime.txt"),
    extras_require={
        "tools": requirements("optional.txt"),
        "tensorrt-rtx": requirements("tensorrt.txt"),
        "jpeg": requirements("jpeg.txt"),
        "view": requirements("view.txt"),
        "test": ["pytest", "hypothesis"],
    },
    zip_safe=True,
    entry_points={
        "console_scripts": [
            "avperception = avperception.cli.main:main",
            "perception = avperception.nodes.executables:perception",
            "visualizer = avperception.nodes.executables:visualizer",
            "bag_player = avperception.nodes.executables:bag_player",
            "synthetic_road = avperception.nodes.executables:synthetic_road",
        ],
    },
)
