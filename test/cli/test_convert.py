from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from avperception.bags import BagReader
from avperception.cli.convert import app
from avperception.errors import BagError


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def kitti(shared_dir: Path) -> Path:
    return shared_dir / "data" / "kitti" / "training"


@pytest.fixture
def long_video(tmp_path: Path) -> Path:
    """Noise of 640x480, some seconds of work."""
    path = tmp_path / "source" / "noise.avi"
    path.parent.mkdir()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30.0, (640, 480))
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    for _ in range(400):
        writer.write(noise)
    writer.release()
    return path


def test_kitti(kitti: Path, tmp_path: Path) -> None:
    result = run("kitti", kitti, tmp_path / "k.mcap")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    assert "k.mcap: 3 frames, 14 messages, " in result.stdout
    with BagReader(tmp_path / "k.mcap") as bag:
        assert bag.message_count == 14


def test_a_frame_that_is_left_out_is_named_and_the_exit_code_is_1(kitti: Path, tmp_path: Path) -> None:
    source = tmp_path / "training"
    for name in ("image_2", "velodyne", "calib"):
        (source / name).mkdir(parents=True)
        for path in (kitti / name).iterdir():
            (source / name / path.name).symlink_to(path)
    (source / "calib/000002.txt").unlink()
    result = run("kitti", source, tmp_path / "k.mcap")
    assert result.exit_code == 1
    assert "incomplete: frame 000002: calib/000002.txt cannot be read" in result.stderr
    assert "k.mcap: 2 frames (incomplete), " in result.stdout


def test_an_existing_recording_is_replaced_only_with_force(kitti: Path, tmp_path: Path) -> None:
    target = tmp_path / "k.mcap"
    target.write_text("precious")
    refused = run("kitti", kitti, target)
    assert isinstance(refused.exception, BagError)
    assert "--force" in str(refused.exception)
    assert target.read_text() == "precious"
    assert run("kitti", kitti, target, "--force").exit_code == 0
    with BagReader(target) as bag:
        assert bag.message_count == 14


def test_video_options_reach_the_recording(shared_dir: Path, tmp_path: Path) -> None:
    source = shared_dir / "data/video/solidWhiteRight.mp4"
    result = run("video", source, tmp_path / "v.mcap", "--fov", 90, "--camera-height", 2, "--compressed")
    assert result.exit_code == 0
    assert "221 frames, 443 messages" in result.stdout
    with BagReader(tmp_path / "v.mcap") as bag:
        info = bag.deserialize(next(bag.messages(["/front/camera_info"])))
        mount = bag.deserialize(next(bag.messages(["/tf_static"])))
        assert next(bag.messages(["/front/image_raw/compressed"]))
    np.testing.assert_allclose(info.k[0], 480)  # half the width at 90 degrees
    assert mount.transforms[0].transform.translation.z == 2.0


def test_ctrl_c_leaves_nothing_and_exits_with_130(long_video: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    command = [sys.executable, "-c", "from avperception.cli.convert import app; app()", "video"]
    process = subprocess.Popen(
        [*command, str(long_video), str(folder / "v.mcap")], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 60
    while not list(folder.glob(".v.*/v/v.mcap")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == b""
    assert err.decode().split() == f"interrupted: nothing was written to {folder / 'v.mcap'}".split()
    assert list(folder.iterdir()) == []
