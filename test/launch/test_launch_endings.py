"""How launches end: by Ctrl-C at any moment, by a signal, because a node refuses or dies."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from launched import Launch

pytest.importorskip("launch_ros", reason="launch_ros is not installed: it comes with ROS 2, from no registry")


def test_a_node_that_refuses_its_parameters_is_not_started_again_and_again(
    repository: Path, environment: dict[str, str], launches: list[Launch], tmp_path: Path
) -> None:
    config = tmp_path / "rig.yaml"
    config.write_text("/**:\n  ros__parameters:\n    detector.model: yolo_unknown\n")
    launch = Launch(repository / "launch" / "perception.launch.py", environment, f"config_file:={config}")
    launches.append(launch)
    assert launch.finish() == 1, launch.said
    assert launch.said.count("perception: ") >= 1 and "yolo_unknown" in launch.said
    assert "perception-1 cannot start" in launch.said
    assert "perception-3" not in launch.said and "Traceback" not in launch.said


@pytest.mark.parametrize("after_s", [0.02, 0.1, 0.3, 0.8])
def test_ctrl_c_in_a_terminal_is_quiet_from_the_start(
    repository: Path, environment: dict[str, str], launches: list[Launch], road: Path, after_s: float
) -> None:
    """Python itself takes a moment to start, in which Ctrl-C would come out as a traceback."""
    launch = Launch(repository / "launch" / "replay.launch.py", environment, f"bag:={road}")
    launches.append(launch)
    launch.until(r"\[bag_player-3\]: process started")
    time.sleep(after_s)
    launch.ctrl_c()
    assert launch.finish(20) == 0, launch.said
    assert "Traceback" not in launch.said and "process has died" not in launch.said, launch.said
    assert "SIGTERM" not in launch.said and launch.said.count("process has finished cleanly") == 3, (
        launch.said
    )


@pytest.mark.parametrize("who", ["the launch", "all that it started, too"])
def test_a_launch_that_a_script_put_into_the_background_ends_by_sigint(
    start_without_networks: Callable[..., Launch], who: str
) -> None:
    """A shell lets what it starts by `&` ignore SIGINT: the launch would stay and start its nodes again."""
    launch = start_without_networks(prefix=("env", "--ignore-signal=INT"))
    if who == "the launch":
        assert launch.interrupt() < 8
    else:
        launch.ctrl_c()
        launch.finish(8)
    assert launch.process.returncode == 0 and "Traceback" not in launch.said, launch.said
    assert launch.said.count("process has finished cleanly") == 2, launch.said
    assert launch.said.count("process started") == 2, launch.said


INTERRUPTED = """
import signal
from launch import LaunchDescription, LaunchService
from launch.actions import OpaqueFunction
from avperception.nodes.launch_endings import interrupt_between_steps

def step(context):
    interrupt_between_steps()
    signal.raise_signal(signal.SIGINT)
    print("the step was done")

service = LaunchService(noninteractive=True)
service.include_launch_description(LaunchDescription([OpaqueFunction(function=step)]))
service.run()
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("the program was interrupted")
"""


def test_ctrl_c_waits_for_what_a_launch_is_just_doing(environment: dict[str, str]) -> None:
    """It would lose a process whose start is broken off, and wait for it for ever."""
    command = [sys.executable, "-c", INTERRUPTED]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    said = result.stdout + result.stderr
    assert result.returncode == 0 and "Traceback" not in said, said
    assert "the step was done" in said and "user interrupted with ctrl-c" in said
    assert said.index("the step was done") < said.index("the program was interrupted")


OVERTAKEN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import EmitEvent, IncludeLaunchDescription
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource

source = PythonLaunchDescriptionSource(sys.argv[1])
arguments = [argument.split(":=", 1) for argument in sys.argv[2:]]
ctrl_c = EmitEvent(event=Shutdown(reason="ctrl-c", due_to_sigint=True))
service = LaunchService()
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments), ctrl_c])
)
sys.exit(service.run())
"""


def test_processes_that_ctrl_c_came_too_early_for_end_all_the_same(
    repository: Path, environment: dict[str, str], road: Path
) -> None:
    """What a terminal sends reaches only what is there; launch would wait 5 s and end it by SIGTERM."""
    path = repository / "launch" / "replay.launch.py"
    demo = repository / "config" / "demo.yaml"
    command = [sys.executable, "-c", OVERTAKEN, str(path), f"bag:={road}", f"config_file:={demo}"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    said = result.stdout + result.stderr
    assert result.returncode == 0 and "Traceback" not in said, said
    assert said.count("process started") == 3, said
    assert said.count("process has finished cleanly") == 3 and "SIGTERM" not in said, said


def test_nodes_do_not_outlive_a_launch_that_is_killed(
    start_without_networks: Callable[..., Launch],
) -> None:
    launch = start_without_networks()
    pids = re.findall(r"process started with pid \[(\d+)\]", launch.said)
    assert len(pids) == 2
    launch.process.kill()
    deadline = time.monotonic() + 10
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in pids if is_running(pid)]


def is_running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_node_that_dies_is_started_again(
    start_without_networks: Callable[..., Launch],
) -> None:
    launch = start_without_networks()
    (pid,) = re.findall(r"\[perception-1\]: process started with pid \[(\d+)\]", launch.said)
    subprocess.run(["kill", "-SEGV", pid], check=True)
    launch.until(r"\[perception-1\]: process has died")
    assert launch.until("active: cameras") < 30
    assert launch.interrupt() < 8
