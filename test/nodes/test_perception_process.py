"""`ros2 run avperception perception`: the node as a process of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = "from avperception.nodes.perception import main; main()"
NO_NETWORKS = ("-p", "detector.model:=''", "-p", "segmenter.model:=''")


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def start(
    processes: list[subprocess.Popen[str]], *arguments: str, script: str = SCRIPT
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, "--ros-args", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    processes.append(process)
    return process


def wait_until_active(process: subprocess.Popen[str]) -> str:
    """What it says up to the line that tells it is at work."""
    assert process.stderr is not None
    said = ""
    while "active: cameras" not in said:
        line = process.stderr.readline()
        assert line, f"it ended: {said}"
        said += line
    return said


def test_the_program_of_the_documentation_that_holds_the_node_itself(
    processes: list[subprocess.Popen[str]], repository: Path
):
    (script,) = re.findall(r"```python\n(.*?)```", (repository / "docs" / "ros.md").read_text(), re.DOTALL)
    process = start(processes, *NO_NETWORKS, script=script)
    said = wait_until_active(process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0 and "Traceback" not in said + out + err, said + err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quickly_and_quietly(processes: list[subprocess.Popen[str]], number: signal.Signals):
    process = start(processes, *NO_NETWORKS)
    said = wait_until_active(process)
    assert "malloc" in said
    time.sleep(0.2)
    begin = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert time.monotonic() - begin < 5
    assert process.returncode == 0, err
    assert "Traceback" not in said + out + err


def test_a_signal_during_the_start_ends_it_quietly(
    processes: list[subprocess.Popen[str]], shared_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AVPERCEPTION_MODELS", str(shared_dir / "models"))
    # While the networks are loaded, in the midst of a transition, and as it is about to spin.
    moments = [
        (start(processes), "malloc", 0.05, signal.SIGINT),
        (start(processes, *NO_NETWORKS), "active: cameras", 0.0, signal.SIGTERM),
        (start(processes, *NO_NETWORKS), "active: cameras", 0.005, signal.SIGINT),
    ]
    for process, line, delay_s, number in moments:
        assert process.stderr is not None
        while line not in process.stderr.readline():
            assert process.poll() is None
        time.sleep(delay_s)
        process.send_signal(number)
    for process, _, _, number in moments:
        _, err = process.communicate(timeout=20)
        assert "Traceback" not in err
        assert process.returncode in (0, 128 + number), err


def refused(processes: list[subprocess.Popen[str]], *arguments: str) -> str:
    """The last line of a start that must fail with exit code 2, one line, and no traceback."""
    process = start(processes, *NO_NETWORKS, *arguments)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 2, err
    assert "Traceback" not in err and not out
    lines = [line for line in err.splitlines() if line and not line.startswith("[")]
    assert len(lines) == 1, err
    return lines[0]


def test_a_value_out_of_its_range(processes: list[subprocess.Popen[str]]):
    line = refused(processes, "-p", "detector.score_threshold:=1.5")
    assert line.startswith("perception: ") and "detector.score_threshold" in line and "1.5" in line


def test_a_value_of_another_type(processes: list[subprocess.Popen[str]]):
    """A whole number for a parameter in metres or seconds is what users write first."""
    assert "lidar.max_range" in refused(processes, "-p", "lidar.max_range:=80")


def test_an_unknown_model(processes: list[subprocess.Popen[str]]):
    line = refused(processes, "-p", "detector.model:=yolo_unknown")
    assert "yolo_unknown" in line and "yolox_nano" in line


def test_a_camera_name_that_no_topic_can_have(processes: list[subprocess.Popen[str]]):
    assert "front-left" in refused(processes, "-p", "cameras:=[front-left]")


def test_a_parameter_file_that_is_missing(processes: list[subprocess.Popen[str]], tmp_path: Path):
    assert "missing.yaml" in refused(processes, "--params-file", str(tmp_path / "missing.yaml"))


def test_a_parameter_file_is_read(processes: list[subprocess.Popen[str]], tmp_path: Path):
    file = tmp_path / "rig.yaml"
    file.write_text("perception:\n  ros__parameters:\n    cameras: [left, right]\n")
    process = start(processes, *NO_NETWORKS, "--params-file", str(file))
    assert "active: cameras left, right" in wait_until_active(process)


def test_without_autostart_it_waits_to_be_configured(processes: list[subprocess.Popen[str]]):
    process = start(processes, *NO_NETWORKS, "-p", "autostart:=false")
    assert process.stderr is not None
    assert "malloc" in process.stderr.readline()
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 0 and "active" not in err and "Traceback" not in err
