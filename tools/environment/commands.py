"""Runs the commands of a step: quiet while they succeed, the end of their output when they fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from environment.errors import StepError
from environment.places import Places

TAIL_LINES = 30
BOOTSTRAP_MARK = "_ROS_WHEELS_BOOTSTRAP_COMPLETE"


def run_logged(command: Sequence[str | Path], log: Path, environment: dict[str, str]) -> None:
    """Run `command` with its output in the file `log`; raises StepError with the end of it on failure."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        output.write(" ".join(map(str, command)) + "\n")
        output.flush()
        code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, env=environment).returncode
    if code:
        tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
        raise StepError(
            "\n".join([*tail, f"The command above ended with code {code}; its output is in {log}"])
        )


def child_environment(places: Places, with_ros_installation: bool) -> dict[str, str]:
    """Environment variables for the commands of a step.

    Without a ROS installation everything that points to other Python or ROS folders is taken out. The
    ROS wheels restart Python once to set LD_LIBRARY_PATH and leave a mark; in an environment inherited
    from another venv the mark would keep ours from doing so, and the path would point to the other.
    """
    environment = dict(os.environ)
    environment["PATH"] = f"{places.venv / 'bin'}{os.pathsep}{environment.get('PATH', os.defpath)}"
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    if environment.pop(BOOTSTRAP_MARK, None):
        environment.pop("LD_LIBRARY_PATH", None)
    if not with_ros_installation:
        for name in ("PYTHONPATH", "PYTHONHOME", "CMAKE_PREFIX_PATH"):
            environment.pop(name, None)
        environment["AMENT_PREFIX_PATH"] = str(places.venv)
    return environment
