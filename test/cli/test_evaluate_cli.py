"""`avperception evaluate` as a user runs it: exit codes, the table, one-line errors, Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from avperception.bags import BagReader, BagWriter
from avperception.scenes import Scene, default_rig, write_recording

SCRIPT = "from avperception.cli.main import main; main()"
NO_NETWORKS = ("--detector", "", "--segmenter", "")


@pytest.fixture(scope="module")
def scene_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.mcap"
    write_recording(Scene(32, "night", "straight", 1.0, default_rig(1, 32), 3.0), path, processes=1)
    return path


def popen(*arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "evaluate", *map(str, arguments)],
        env={**os.environ, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    process = popen(*arguments)
    out, err = process.communicate(timeout=100)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def error_line(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_scenes_are_scored_together_with_the_packages_own_networks(scene_bag: Path, tmp_path: Path):
    done = run(scene_bag, scene_bag, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert summary["frames"] == {"in": 6, "out": 6, "lost": {}} and summary["miou"] > 0.6
    assert "night" in done.stdout and f"{summary['miou']:.2f}" in done.stdout
    assert f"{summary['ap50']['pedestrian']:.2f}" in done.stdout


def test_something_lost_on_the_way_ends_with_exit_code_1(scene_bag: Path, tmp_path: Path):
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(scene_bag.read_bytes()[: scene_bag.stat().st_size * 7 // 10])
    done = run(cut, "--out", tmp_path / "out", *NO_NETWORKS)
    assert done.returncode == 1, done.stderr
    assert "frames came out" in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "out" / "evaluation.json").exists()


def test_a_recording_without_truth(scene_bag: Path, tmp_path: Path):
    bare = tmp_path / "bare.mcap"
    with BagReader(scene_bag) as bag, BagWriter(bare) as writer:
        for message in bag.messages():
            if "ground_truth" not in message.topic:
                writer.add_topic(message.topic, message.msgtype, latched=message.topic == "/tf_static")
                writer.write_cdr(message.topic, message.stamp_ns, message.cdr)
    line = error_line(run(bare, "--out", tmp_path / "out"))
    assert "bare.mcap" in line and "/ground_truth" in line and "scenes make" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--detector", "nonsuch"), "nonsuch"),
        (("--params", "nonsuch.yaml"), "nonsuch.yaml"),
        (("--points", "/roof"), "/roof"),
    ],
    ids=["detector", "params", "points"],
)
def test_arguments_that_cannot_be_used(
    scene_bag: Path, tmp_path: Path, arguments: tuple[str, ...], named: str
):
    assert named in error_line(run(scene_bag, "--out", tmp_path / "out", *arguments))


def test_a_missing_recording_and_a_file_where_the_folder_should_be(scene_bag: Path, tmp_path: Path):
    assert "missing.mcap" in error_line(run(tmp_path / "missing.mcap", "--out", tmp_path / "out"))
    (tmp_path / "taken").write_text("mine")
    assert "taken" in error_line(run(scene_bag, "--out", tmp_path / "taken"))
    assert (tmp_path / "taken").read_text() == "mine"


def test_ctrl_c_leaves_no_half_evaluation(scene_bag: Path, tmp_path: Path):
    process = popen(scene_bag, "--out", tmp_path / "out")
    deadline = time.monotonic() + 60
    while not (tmp_path / "out").exists():  # made just before the node is
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err and "interrupted" in err
    assert not (tmp_path / "out" / "evaluation.json").exists()
