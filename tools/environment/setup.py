"""The steps of a set-up, in order, each done once for the same inputs."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from environment.commands import child_environment
from environment.errors import PrerequisiteError, StepError
from environment.messages import build_messages
from environment.packages import create_venv, install_missing, install_pinned, install_project
from environment.places import Places
from environment.prerequisites import check_prerequisites
from environment.record import fingerprint, read_record, write_record
from environment.ros_installation import RosInstallation, sourced_installation

TOOLS = Path(__file__).resolve().parent
PROJECT_FILES = ("setup.py", "setup.cfg", "package.xml", "resource", "launch")


@dataclass(frozen=True)
class Step:
    """One step: what it says it does, the fingerprint of its inputs, and the work."""

    name: str
    title: str
    inputs: str
    work: Callable[[], None]


def run(root: str) -> int:
    """Set up the checkout at `root` and print what is done; returns the exit code."""
    places = Places(Path(root))
    try:
        installation = sourced_installation(os.environ)
        with _only_one_at_a_time():
            set_up(places, installation)
    except PrerequisiteError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 2
    except StepError as error:
        print(f"{error}\nsetup: not complete; mend the cause and run `make setup` again", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsetup: interrupted; run `make setup` again", file=sys.stderr)
        return 130
    return 0


def set_up(places: Places, installation: RosInstallation | None) -> None:
    """Do the steps that are not finished, and record each as soon as it is.

    A step that was interrupted has no record and is done again; the first one starts with a new .venv,
    because pip takes a half-installed package for a whole one.
    """
    steps = _steps(places, installation)
    finished = read_record(places.record) if places.python.exists() else {}
    pending = [step for step in steps if finished.get(step.name) != step.inputs]
    if not pending:
        return
    check_prerequisites(builds_messages=installation is None)
    for step in pending:
        finished.pop(step.name, None)
    if places.record.exists():
        write_record(places.record, finished)
    for step in pending:
        started = time.monotonic()
        print(f"setup: {step.title} ...", flush=True)
        step.work()
        finished[step.name] = step.inputs
        write_record(places.record, finished)
        print(f"setup: done in {time.monotonic() - started:.0f} s", flush=True)


def _steps(places: Places, installation: RosInstallation | None) -> list[Step]:
    """All steps; the inputs of each include those of the step before."""
    with_ros = installation is not None
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    source = f"ROS 2 {installation.distribution} of this shell" if installation else "ROS 2 as wheels"
    environment = child_environment(places, with_ros)

    def make_venv() -> None:
        create_venv(places, environment, system_packages=with_ros)
        install = install_missing if with_ros else install_pinned
        install(places, environment)

    inputs = fingerprint(
        [sys.version, sys.base_prefix, str(places.root), str(installation)],
        [places.requirements, TOOLS / "packages.py", TOOLS / "commands.py"],
    )
    steps = [Step("venv", f"a new .venv, Python {version}, {source}", inputs, make_venv)]
    if not with_ros:
        inputs = fingerprint([inputs], [places.interfaces, TOOLS / "messages.py"])
        title = "building vision_msgs and tf2_msgs"
        steps.append(Step("messages", title, inputs, lambda: build_messages(places, environment)))
    project_files = [*(places.root / name for name in PROJECT_FILES), TOOLS / "ament.py"]
    inputs = fingerprint([inputs], project_files)
    title = "installing avperception from this checkout"
    steps.append(Step("project", title, inputs, lambda: install_project(places, environment)))
    return steps


@contextmanager
def _only_one_at_a_time() -> Iterator[None]:
    """Wait until no other set-up of this checkout runs; the lock goes with the process."""
    with Path(__file__).open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("setup: waiting for another set-up of this checkout ...", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
