"""The launch files run for real: what they start, how they end, and what they say to wrong arguments."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="launch_ros is not installed: it comes with ROS 2, from no registry")

from avperception.scenes import CONDITIONS, MIXED, Scene, default_rig, write_recording

NAMES = ("perception", "orin", "replay", "demo")

RUN = """
import sys
from pathlib import Path
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

source = PythonLaunchDescriptionSource(sys.argv[1])
arguments = [argument.split(":=", 1) for argument in sys.argv[2:]]
service = LaunchService(noninteractive=True)
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments)])
)
sys.exit(service.run())
"""

DESCRIBE = """
import sys
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch import LaunchContext

description = PythonLaunchDescriptionSource(sys.argv[1]).get_launch_description(LaunchContext())
for argument in description.get_launch_arguments():
    print(argument.name, "|", argument.description)
"""


class Launch:
    """A launch under way; `until` reads what it says."""

    def __init__(
        self, file: Path, environment: dict[str, str], *arguments: str, prefix: tuple[str, ...] = ()
    ) -> None:
        self.said = ""
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", RUN, str(file), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=environment,
            start_new_session=True,
        )

    def until(self, pattern: str) -> float:
        """Wait until a line fits; gives the seconds since this was called."""
        begin = time.monotonic()
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if re.search(pattern, line):
                return time.monotonic() - begin
        raise AssertionError(f"it ended without {pattern!r}:\n{self.said}")

    def interrupt(self) -> float:
        """Ctrl-C; gives the seconds until all has ended."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        self.finish()
        return time.monotonic() - begin

    def ctrl_c(self) -> None:
        """What a terminal does: SIGINT for the launch and all that it started."""
        os.killpg(self.process.pid, signal.SIGINT)

    def finish(self, timeout_s: float = 60.0) -> int:
        rest, _ = self.process.communicate(timeout=timeout_s)
        self.said += rest
        return self.process.returncode


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


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of the synthetic road with one camera."""
    path = tmp_path_factory.mktemp("road") / "road.mcap"
    write_recording(Scene(3, "day", "straight", 0.6, default_rig(1, 32), 5.0), path, processes=1)
    return path


def described(repository: Path, environment: dict[str, str], name: str) -> dict[str, str]:
    command = [sys.executable, "-c", DESCRIBE, str(repository / "launch" / f"{name}.launch.py")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return dict(line.split(" | ", 1) for line in result.stdout.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_is_described(repository: Path, environment: dict[str, str], name: str) -> None:
    arguments = described(repository, environment, name)
    assert {"config_file", "backend", "visualize", "log_level"} <= set(arguments)
    assert ("use_sim_time" in arguments) == (name in ("perception", "orin"))
    assert ("bag" in arguments) == (name == "replay")
    assert ({"rate", "loop", "qos_overrides"} <= set(arguments)) == (name in ("replay", "demo"))
    for argument, description in arguments.items():
        assert len(description) > 10 and description[0].isupper(), argument


def test_beside_sensors_the_nodes_start_and_ctrl_c_ends_them(
    repository: Path, environment: dict[str, str], launches: list[Launch], tmp_path: Path
) -> None:
    config = tmp_path / "rig.yaml"
    config.write_text(
        "/**:\n  ros__parameters:\n    cameras: [front]\n    detector.model: ''\n    segmenter.model: ''\n"
    )
    launch = Launch(repository / "launch" / "orin.launch.py", environment, f"config_file:={config}")
    launches.append(launch)
    assert launch.until(r"active: cameras front") < 30
    assert launch.interrupt() < 8
    assert launch.process.returncode == 0, launch.said
    assert "Traceback" not in launch.said
    assert launch.said.count("process has finished cleanly") == 2, launch.said


def test_a_recording_is_played_into_the_nodes_and_ends_the_launch(
    repository: Path, environment: dict[str, str], launches: list[Launch], road: Path
) -> None:
    demo = repository / "config" / "demo.yaml"
    launch = Launch(
        repository / "launch" / "replay.launch.py", environment, f"bag:={road}", f"config_file:={demo}"
    )
    launches.append(launch)
    launch.until(r"active: cameras front;")
    launch.until(r"road.mcap is over")
    assert launch.finish() == 0, launch.said
    assert "Traceback" not in launch.said and "process has died" not in launch.said
    assert launch.said.count("process has finished cleanly") == 3, launch.said


def test_the_synthetic_road_is_rendered_and_driven_along(
    repository: Path, environment: dict[str, str], launches: list[Launch], tmp_path: Path
) -> None:
    drive = ["seconds:=0.4", "frame_rate:=5.0"]
    kept_here = {**environment, "XDG_CACHE_HOME": str(tmp_path)}
    launch = Launch(repository / "launch" / "demo.launch.py", kept_here, *drive)
    launches.append(launch)
    launch.until(r"synthetic_road_\w+\.mcap: 0\.\d s")
    assert list((tmp_path / "avperception" / "demo").glob("*.mcap"))
    if "active: cameras front, left, right; detector demo_detector" not in launch.said:
        launch.until(r"active: cameras front, left, right; detector demo_detector")
    assert launch.interrupt() < 8
    assert launch.process.returncode == 0 and "Traceback" not in launch.said, launch.said
    assert launch.said.count("process has finished cleanly") == 3, launch.said


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("replay", ["bag:=/nowhere/drive.mcap"], "/nowhere/drive.mcap does not exist"),
        ("replay", [], "missing required argument 'bag'"),
        ("orin", ["config_file:=/nowhere/rig.yaml"], "cannot read config_file /nowhere/rig.yaml"),
        ("orin", ["backend:=cuda"], "onnxruntime"),
        ("demo", ["rate:=fast"], "rate:=fast is no number"),
        ("demo", ["seconds:=long"], "seconds:=long is no number"),
        ("demo", ["condition:=snow"], "'tunnel'"),
        ("demo", ["qos_overrides:=/nowhere/qos.yaml"], "cannot read qos_overrides /nowhere/qos.yaml"),
    ],
)
def test_a_wrong_argument_ends_the_launch_before_anything_is_started(
    repository: Path,
    environment: dict[str, str],
    launches: list[Launch],
    name: str,
    arguments: list[str],
    words: str,
) -> None:
    launch = Launch(repository / "launch" / f"{name}.launch.py", environment, *arguments)
    launches.append(launch)
    assert launch.finish() == 1, launch.said
    assert words in launch.said
    assert "process started" not in launch.said and "Traceback" not in launch.said


def test_a_recording_is_not_played_without_the_configuration_that_was_given(
    repository: Path, environment: dict[str, str], launches: list[Launch], road: Path
) -> None:
    arguments = (f"bag:={road}", "config_file:=~/nowhere/rig.yaml")
    launch = Launch(
        repository / "launch" / "replay.launch.py", {**environment, "HOME": "/home/me"}, *arguments
    )
    launches.append(launch)
    assert launch.finish() == 1, launch.said
    assert "cannot read config_file /home/me/nowhere/rig.yaml" in launch.said
    assert "process started" not in launch.said and "Traceback" not in launch.said


def test_all_conditions_of_the_road_can_be_chosen() -> None:
    from avperception.nodes.launching import ROAD_CONDITIONS

    assert [*CONDITIONS, MIXED] == ROAD_CONDITIONS


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
    repository: Path, environment: dict[str, str], launches: list[Launch], tmp_path: Path, who: str
) -> None:
    """A shell lets what it starts by `&` ignore SIGINT: the launch would stay and start its nodes again."""
    config = tmp_path / "rig.yaml"
    config.write_text("/**:\n  ros__parameters:\n    detector.model: ''\n    segmenter.model: ''\n")
    path = repository / "launch" / "perception.launch.py"
    ignoring = ("env", "--ignore-signal=INT")
    launch = Launch(path, environment, f"config_file:={config}", prefix=ignoring)
    launches.append(launch)
    launch.until("active: cameras")
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


def test_a_prefix_of_the_command_line_is_used(
    repository: Path, environment: dict[str, str], launches: list[Launch]
) -> None:
    """As for a debugger: `ros2 launch --launch-prefix` sets this configuration."""
    path = repository / "launch" / "perception.launch.py"
    launch = Launch(path, environment, "launch-prefix:=echo prefixed")
    launches.append(launch)
    launch.until(r"prefixed \S+/perception --ros-args")
    assert launch.interrupt() < 8


def test_nodes_do_not_outlive_a_launch_that_is_killed(
    repository: Path, environment: dict[str, str], launches: list[Launch], tmp_path: Path
) -> None:
    config = tmp_path / "rig.yaml"
    config.write_text("/**:\n  ros__parameters:\n    detector.model: ''\n    segmenter.model: ''\n")
    launch = Launch(repository / "launch" / "perception.launch.py", environment, f"config_file:={config}")
    launches.append(launch)
    launch.until("active: cameras")
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
    repository: Path, environment: dict[str, str], launches: list[Launch], tmp_path: Path
) -> None:
    config = tmp_path / "rig.yaml"
    config.write_text("/**:\n  ros__parameters:\n    detector.model: ''\n    segmenter.model: ''\n")
    launch = Launch(repository / "launch" / "perception.launch.py", environment, f"config_file:={config}")
    launches.append(launch)
    launch.until("active: cameras")
    (pid,) = re.findall(r"\[perception-1\]: process started with pid \[(\d+)\]", launch.said)
    subprocess.run(["kill", "-SEGV", pid], check=True)
    launch.until(r"\[perception-1\]: process has died")
    assert launch.until("active: cameras") < 30
    assert launch.interrupt() < 8


def test_without_rviz_visualize_says_where_it_is_to_be_had(
    repository: Path, environment: dict[str, str], launches: list[Launch], tmp_path: Path
) -> None:
    config = tmp_path / "rig.yaml"
    config.write_text("/**:\n  ros__parameters:\n    detector.model: ''\n    segmenter.model: ''\n")
    launch = Launch(
        repository / "launch" / "perception.launch.py",
        environment,
        f"config_file:={config}",
        "visualize:=true",
    )
    launches.append(launch)
    launch.until("active: cameras")
    assert launch.interrupt() < 8
    if "[rviz2-" not in launch.said:
        assert "apt install ros-" in launch.said and "foxglove_layout.json" in launch.said
