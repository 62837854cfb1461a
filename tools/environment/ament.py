"""The checkout among the packages of .venv, so that `ros2 launch` and `ros2 run` find it there."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from environment.places import Places

PACKAGE = "avperception"
SHARED = ("package.xml", "config", "engines")


def index_project(places: Places) -> None:
    """Do what colcon does with an ament package, with links into the checkout (pip leaves this out)."""
    for folder in ("share", "lib"):
        # Anew each time: through a folder that is a link from before, the checkout's own files would go.
        shutil.rmtree(places.venv / folder / PACKAGE, ignore_errors=True)
    marker = places.venv / "share" / "ament_index" / "resource_index" / "packages" / PACKAGE
    _link(marker, places.root / "resource" / PACKAGE)
    for name in SHARED:
        _link(places.venv / "share" / PACKAGE / name, places.root / name)
    # `ros2 launch` looks into no folder that is a link.
    for file in sorted((places.root / "launch").glob("*.launch.py")):
        _link(places.venv / "share" / PACKAGE / "launch" / file.name, file)
    for name in _executables(places.root / "setup.py"):
        _link(places.venv / "lib" / PACKAGE / name, places.venv / "bin" / name)


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(target, link.parent))


def _executables(setup: Path) -> list[str]:
    """The nodes among the console scripts that `setup.py` names."""
    return re.findall(rf'"(\w+) = {PACKAGE}\.nodes\.', setup.read_text(encoding="utf-8"))
