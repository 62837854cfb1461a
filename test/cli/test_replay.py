"""`avperception replay` as a user runs it: exit codes, one-line errors, Ctrl-C."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from avperception.bags import BagReader, BagWriter, convert_kitti

SCRIPT = "from avperception.cli.main import main; main()"
NO_NETWORKS = ("--detector", "", "--segmenter", "")


@pytest.fixture(scope="module")
def networks(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    for file in (shared_dir / "models").glob("*.onnx"):
        (folder / file.name).symlink_to(file.resolve())
    return folder


@pytest.fixture(scope="module")
def kitti_bag(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kitti") / "kitti.mcap"
    with BagWriter(path) as writer:
        convert_kitti(shared_dir / "data" / "kitti" / "training", writer)
    return path


@pytest.fixture(scope="module")
def long_bag(kitti_bag: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frames over and over, stamps rising: long enough to be interrupted."""
    path = tmp_path_factory.mktemp("long") / "long.mcap"
    with BagReader(kitti_bag) as bag, BagWriter(path) as writer:
        recording = [(message, bag.deserialize(message)) for message in bag.messages()]
        for lap in range(20):
            for message, content in recording:
                stamp_ns = message.stamp_ns + lap * 300_000_000
                writer.add_topic(message.topic, message.msgtype, latched=message.topic == "/tf_static")
                for header in (getattr(content, "header", None), *getattr(content, "transforms", ())):
                    if hasattr(header, "stamp"):
                        header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 10**9)
                writer.write(message.topic, stamp_ns, content)
    return path


def popen(*arguments: object, models: Path | None = None) -> "subprocess.Popen[str]":
    environment = {**os.environ, "COLUMNS": "200"}
    if models:
        environment["AVPERCEPTION_MODELS"] = str(models)
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "replay", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: object, models: Path | None = None) -> "subprocess.CompletedProcess[str]":
    process = popen(*arguments, models=models)
    out, err = process.communicate(timeout=100)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def error_line(done: "subprocess.CompletedProcess[str]") -> str:
    """The one line of a refusal; the node's own log lines are no part of it."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_the_shared_frames_end_with_exit_code_0(kitti_bag: Path, networks: Path, tmp_path: Path):
    done = run(kitti_bag, "--out", tmp_path / "out", models=networks)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 frames" in done.stdout and "pedestrian" in done.stdout and "1 of 1 found" in done.stdout
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["frames"]["out"] == 3
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 3


def test_something_lost_on_the_way_ends_with_exit_code_1(kitti_bag: Path, tmp_path: Path):
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(kitti_bag.read_bytes()[: kitti_bag.stat().st_size * 6 // 10])
    done = run(cut, "--out", tmp_path / "out", *NO_NETWORKS)
    assert done.returncode == 1, done.stderr
    assert "damage" in done.stdout and "Traceback" not in done.stderr
    with BagReader(tmp_path / "out" / "detections.mcap") as bag:
        assert bag.damage is None and bag.message_count > 0


def test_ctrl_c_leaves_what_was_done_and_exit_code_130(long_bag: Path, networks: Path, tmp_path: Path):
    out = tmp_path / "out"
    process = popen(long_bag, "--out", out, models=networks)
    deadline = time.monotonic() + 60
    while not (out / "overlays" / "000001.png").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130, err
    assert "Traceback" not in err and "interrupted" in err
    frames = json.loads((out / "metrics.json").read_text())["frames"]
    assert 2 <= frames["out"] < 60
    with BagReader(out / "detections.mcap") as bag:
        assert bag.damage is None
        counts = {topic.name: topic.message_count for topic in bag.topics}
    assert counts["/perception/output/detections_3d"] >= frames["out"]
    assert {path.name for path in out.iterdir()} == {"detections.mcap", "metrics.json", "overlays"}


def test_ctrl_c_while_it_starts(long_bag: Path, networks: Path, tmp_path: Path):
    process = popen(long_bag, "--out", tmp_path / "out", models=networks)
    deadline = time.monotonic() + 30
    while not (tmp_path / "out").exists():  # made just before the node is
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=15)
    assert process.returncode == 130, err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["missing.mcap", "text.mcap"])
def test_what_is_no_recording(tmp_path: Path, name: str):
    path = tmp_path / name
    if name == "text.mcap":
        path.write_text("hello, this is text")
    assert name in error_line(run(path, "--out", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_file_where_the_folder_should_be(kitti_bag: Path, tmp_path: Path):
    (tmp_path / "out").write_text("mine")
    assert "out" in error_line(run(kitti_bag, "--out", tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "mine"


def test_a_network_of_another_sha256(kitti_bag: Path, networks: Path, tmp_path: Path):
    altered = tmp_path / "networks"
    shutil.copytree(networks, altered)
    network = altered / "yolox_nano_416.onnx"
    network.write_bytes(network.read_bytes()[:-1] + b"\x00")
    line = error_line(run(kitti_bag, "--out", tmp_path / "out", models=altered))
    assert "yolox_nano" in line and "sha256" in line


def test_networks_that_were_never_pulled(kitti_bag: Path, tmp_path: Path):
    line = error_line(run(kitti_bag, "--out", tmp_path / "out", models=tmp_path))
    assert "models pull yolox_nano" in line


def test_a_parameter_file(kitti_bag: Path, tmp_path: Path):
    file = tmp_path / "rig.yaml"
    file.write_text(
        "/**:\n  ros__parameters:\n    target_frame: lidar\n    lidar: {max_range: 20.0}\n"
        "    detector: {model: ''}\n    segmenter: {model: ''}\n"
    )
    done = run(kitti_bag, "--out", tmp_path / "out", "--params", file, "--pictures", "0")
    assert done.returncode == 0, done.stderr
    with BagReader(tmp_path / "out" / "detections.mcap") as bag:
        first = next(iter(bag.messages(["/perception/output/points_labelled"])))
        cloud = bag.deserialize(first)
    points = cloud.data.reshape(-1, cloud.point_step)[:, :12].copy().view("<f4")
    assert cloud.header.frame_id == "lidar"
    assert 19.0 < np.linalg.norm(points, axis=1).max() <= 20.0
    assert not list((tmp_path / "out" / "overlays").iterdir())


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "rig.yaml"),
        ("this: [is no: yaml", "rig.yaml"),
        ("/**: {ros__parameters: {lidar: {max_range: 20}}}", "lidar.max_range"),
    ],
    ids=["missing", "no_yaml", "whole_number"],
)
def test_a_parameter_file_that_cannot_be_used(
    kitti_bag: Path, tmp_path: Path, content: str | None, named: str
):
    file = tmp_path / "rig.yaml"
    if content is not None:
        file.write_text(content)
    line = error_line(run(kitti_bag, "--out", tmp_path / "out", *NO_NETWORKS, "--params", file))
    assert named in line


def test_a_cloud_that_the_recording_has_not(kitti_bag: Path, tmp_path: Path):
    line = error_line(run(kitti_bag, "--out", tmp_path / "out", "--points", "/roof"))
    assert "/roof" in line and "/points" in line


def test_the_output_folder_is_required(kitti_bag: Path):
    done = run(kitti_bag)
    assert done.returncode == 2 and "--out" in done.stderr and "Traceback" not in done.stderr


def test_help_says_what_is_written_and_the_exit_codes():
    done = run("--help")
    assert done.returncode == 0
    for word in ("detections.mcap", "metrics.json", "overlays", "--out", "--params", "Exit code"):
        assert word in done.stdout
