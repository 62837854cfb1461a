from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from avperception.bags import BagReader
from avperception.cli.scenes import app
from avperception.errors import AvperceptionError, ConfigurationError

CALIBRATION = """
image_width: 160
image_height: 96
camera_name: front
camera_matrix: {rows: 3, cols: 3, data: [110.0, 0.0, 79.5, 0.0, 110.0, 47.5, 0.0, 0.0, 1.0]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [-0.1, 0.01, 0.0, 0.0, 0.0]}
"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["make", *(str(argument) for argument in arguments)])


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    path = tmp_path / "front.yaml"
    path.write_text(CALIBRATION)
    return path


def test_it_writes_a_recording(tmp_path: Path, calibration: Path) -> None:
    out = tmp_path / "out.mcap"
    result = run(
        out, "--seconds", 0.2, "--cameras", 1, "--condition", "night", "--seed", 7, "--beams", 32,
        "--calibration", f"front={calibration}",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "out.mcap: 2 frames" in result.output
    with BagReader(out) as bag:
        (info, *_) = [bag.deserialize(message) for message in bag.messages(["/front/camera_info"])]
        assert (info.width, info.height) == (160, 96)
        assert {topic.name for topic in bag.topics} >= {"/points", "/tf", "/tf_static", "/ground_truth"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--condition", "snow"], "condition 'snow' does not exist: choose one of day, dusk"),
        (["--cameras", 9], "9 cameras are not possible"),
        (["--beams", 17], "a lidar with 17 beams is not possible"),
        (["--max-range", -5], "a range from 1 to -5 m is not possible"),
        (["--min-range", -1], "a range from -1 to 100 m is not possible"),
        (["--seconds", 0], "0 seconds is not possible"),
        (["--road", "loop"], "road 'loop' does not exist"),
        (["--processes", 0], "0 processes are not possible"),
        (["--calibration", "rear=x.yaml"], "the rig has no camera 'rear': it has front, left, right"),
        (["--calibration", "front"], "give it as CAM=FILE"),
        (["--calibration", "front=missing.yaml"], "calibration missing.yaml cannot be read"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, arguments: list[object], message: str) -> None:
    result = run(tmp_path / "out.mcap", *arguments)
    assert isinstance(result.exception, AvperceptionError), result.output
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("image_width: 160", "image_width: 0", "camera front: an image of 0x96 is not possible"),
        ("image_width: 160", "image_width: wide", "key `image_width` is 'wide'"),
        ("data: [110.0,", "data: [-110.0,", "camera front: K needs two positive focal lengths"),
        ("image_height: 96", "", "key `image_height` is missing"),
        ("[-0.1, 0.01, 0.0, 0.0, 0.0]", "[-9.0, 0.0, 0.0, 0.0, 0.0]", "folds within the image"),
        ("plumb_bob", "bent", "distortion model 'bent' is not known"),
        ("{rows: 3", "{rows: 3, [", "not valid YAML"),
    ],
)
def test_an_impossible_camera_is_one_clear_line(
    tmp_path: Path, calibration: Path, old: str, new: str, message: str
) -> None:
    calibration.write_text(CALIBRATION.replace(old, new))
    result = run(
        tmp_path / "out.mcap", "--seconds", 0.1, "--cameras", 1, "--calibration", f"front={calibration}"
    )
    assert isinstance(result.exception, ConfigurationError), result.output
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert not (tmp_path / "out.mcap").exists()


def test_ctrl_c_stops_it_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out.mcap"
    program = (
        "from avperception.cli.scenes import app\n"
        "if __name__ == '__main__':\n"
        f"    app(['make', {str(out)!r}, '--seconds', '30'])\n"
    )
    script = tmp_path / "script.py"
    script.write_text(program)
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(
        [sys.executable, str(script)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not any(path.is_dir() for path in tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)  # the terminal sends it to all processes of the command
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: nothing was written" in errors
    assert "Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]
