import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from rich.console import Console

from avperception.cli.top_table import STALE, STALE_S, draw_top, level_at
from avperception.nodes.diagnostics_listener import HeardStatus

TOP = [sys.executable, "-c", "from avperception.cli.main import main; main()", "top"]
NODE = [
    sys.executable, "-c", "from avperception.nodes.perception import main; main()", "--ros-args",
    "-p", "detector.model:=''", "-p", "segmenter.model:=''", "-p", "cameras:=[front, rear]",
]  # fmt: skip

FLOW = {
    "received": "120", "processed": "117", "rate in [Hz]": "20.0", "rate out [Hz]": "19.5",
    "latency p50 [ms]": "12.50", "latency p99 [ms]": "31.00", "age p99 [ms]": "44.1",
    "dropped overload": "2", "dropped unknown_encoding": "1", "noted time_jump": "4",
}  # fmt: skip
CAMERA = HeardStatus("perception: front camera", 1, "lost: 2 overload", FLOW, 100.0)
ENGINES = HeardStatus("perception: engines", 0, "loaded", {"detector": "yolox_nano on a GPU"}, 100.0)


def drawn(*statuses: HeardStatus, now_s: float = 100.5, width: int = 150) -> str:
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(draw_top(statuses, now_s, "waiting for a node"))
    return console.export_text()


def test_a_source_is_a_row_with_its_figures_and_reasons():
    lines = drawn(CAMERA, ENGINES).splitlines()
    (row,) = [line for line in lines if line.startswith("front camera")]
    assert row.split()[2:] == ["WARN", "20.0", "19.5", "12.50", "31.00", "44.1", "3", *CAMERA.message.split()]
    assert any("lost so far: overload 2, unknown_encoding 1" in line for line in lines)
    assert any("noted so far: time_jump 4" in line for line in lines)
    assert lines[0].split() == ["1", "OK", "1", "WARN"]


def test_what_is_wrong_has_room_in_a_narrow_terminal():
    text = "boxes lie 1.2 deg left of the lidar's objects (median of 20)"
    lines = drawn(replace(CAMERA, message=text), ENGINES, width=80).splitlines()
    (row,) = [line for line in lines if line.startswith("front camera  WARN")]
    assert row.split()[-1] == "3"
    assert f"front camera  {text}" in [line.rstrip() for line in lines]
    assert any("  lost so far: overload 2, unknown_encoding 1" in line for line in lines)


def test_what_was_said_last_of_a_reason():
    values = {**FLOW, "last message [s]": "0.01", "last unknown_encoding": "32FC1 is no image"}
    lines = drawn(replace(CAMERA, values=values)).splitlines()
    assert any("unknown_encoding: 32FC1 is no image" in line for line in lines)
    assert not any("message [s]" in line for line in lines)


def test_whose_rows_they_are():
    truck = [replace(status, name=f"/truck/{status.name}") for status in (CAMERA, ENGINES)]
    lines = drawn(*truck).splitlines()
    assert lines[0].split()[-1] == "/truck/perception" and any(x.startswith("front camera ") for x in lines)
    both = drawn(CAMERA, *truck)
    assert "/truck/perception: front camera" in both and "\nperception: front camera" in both


def test_what_is_no_source_shows_all_its_values():
    text = drawn(ENGINES)
    assert "engines  OK  loaded" in text and "yolox_nano on a GPU" in text


def test_markup_in_a_message_is_text():
    odd = HeardStatus("perception: lidar", 2, "lost [bold]everything[/]", {"received": "0"}, 100.0)
    assert "lost [bold]everything[/]" in drawn(odd)


def test_a_status_that_is_not_renewed_is_stale():
    assert level_at(CAMERA, 100.0 + STALE_S - 0.1) == 1
    assert level_at(CAMERA, 100.0 + STALE_S + 0.1) == STALE
    assert "2 STALE" in drawn(CAMERA, ENGINES, now_s=200.0)


def test_before_the_first_report():
    assert "waiting for a node" in drawn()


@pytest.fixture(scope="module")
def node() -> Iterator[None]:
    process = subprocess.Popen(NODE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0


def run_top(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*TOP, *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.usefixtures("node")
def test_a_running_node_as_json():
    done = run_top("--json", "--timeout", "20")
    statuses = {status["name"]: status for status in json.loads(done.stdout)}
    assert set(statuses) >= {"perception: front camera", "perception: rear camera", "perception: engines"}
    assert statuses["perception: rear camera"]["level"] in (1, 2)
    assert statuses["perception: rear camera"]["message"].startswith("nothing received yet on ")
    assert done.returncode == any(status["level"] == 2 for status in statuses.values())
    assert not done.stderr


@pytest.mark.usefixtures("node")
def test_a_node_that_is_not_there_beside_one_that_is():
    done = run_top("--once", "--node", "/truck/perception", "--timeout", "8")
    assert done.returncode == 1 and not done.stdout
    assert "the perception node /truck/perception" in done.stderr
    assert "--node may be /perception" in done.stderr


@pytest.mark.usefixtures("node")
def test_live_on_a_terminal_until_ctrl_c():
    child, terminal = pty.fork()
    if child == 0:
        os.execve(TOP[0], TOP, {**os.environ, "TERM": "xterm-256color", "COLUMNS": "150", "LINES": "40"})
    shown, end = b"", time.monotonic() + 60
    while b"rear camera" not in shown:
        assert time.monotonic() < end, shown
        if select.select([terminal], [], [], 0.5)[0]:
            shown += os.read(terminal, 65536)
    os.write(terminal, b"\x03")
    with suppress(OSError):  # how Linux says that the other end of a terminal is closed
        while select.select([terminal], [], [], 30)[0] and (part := os.read(terminal, 65536)):
            shown += part
    os.kill(child, signal.SIGKILL)  # one that has ended hears it no more
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert b"Traceback" not in shown
    assert shown.rstrip().endswith(b"\x1b[?1049l"), "the terminal has its own screen again"


def test_where_nothing_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "101")
    done = run_top("--once", "--timeout", "0.5")
    assert done.returncode == 1 and not done.stdout
    assert "no report within 0.5 s" in done.stderr and "ROS domain 101" in done.stderr
