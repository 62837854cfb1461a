"""`avperception demo` as a user runs it: a short road through everything, a video, errors, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
import typer
from PIL import Image as PillowImage
from typer.testing import CliRunner

from avperception.bags import BagReader
from avperception.cli.demo import demo
from avperception.cli.demo_recordings import synthetic_recording
from avperception.errors import AvperceptionError
from avperception.scenes import Scene, default_rig

SCRIPT = "from avperception.cli.main import main; main()"
SHORT = ("--seconds", "1", "--cameras", "1", "--condition", "day", "--rate", "4")
FILES = {
    "birds_eye.webp",
    "detections.mcap",
    "evaluation.json",
    "metrics.json",
    "overlays",
    "report.html",
}

APP = typer.Typer()
APP.command()(demo)


def start(*arguments: object, models: Path | None = None) -> subprocess.Popen[str]:
    environment = {**os.environ, "COLUMNS": "200"}
    if models:
        environment["AVPERCEPTION_MODELS"] = str(models)
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, "demo", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: object, models: Path | None = None) -> subprocess.CompletedProcess[str]:
    process = start(*arguments, models=models)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def refused(*arguments: object) -> str:
    """The message of a refusal, without starting a process."""
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments])
    assert isinstance(result.exception, AvperceptionError), result.output
    return str(result.exception)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    out = tmp_path_factory.mktemp("demo") / "out"
    return run("--out", out, *SHORT), out


def test_a_road_is_made_played_scored_and_drawn(first: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, out = first
    assert done.returncode == 0, done.stderr
    assert "4 of 4 frames" in done.stdout and str(out / "report.html") in done.stdout.replace("\n", "")
    for words in ("class", "AP50", "AP 3D, 1 m", "centre error, m", "car", "detector network", "fusion"):
        assert words in done.stdout, words
    (road,) = out.glob("synthetic_road_*.mcap")
    assert {path.name for path in out.iterdir()} == FILES | {road.name}
    assert len(list((out / "overlays").iterdir())) == 4
    with PillowImage.open(out / "birds_eye.webp") as film:
        assert film.n_frames == 4


def test_the_scores_are_those_of_a_network_that_works(
    first: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    # Four pictures: the bounds are far below what longer recordings give; a broken path is far below them.
    evaluation = json.loads((first[1] / "evaluation.json").read_text())
    assert evaluation["ap50"]["car"] > 0.5 and evaluation["ap3d_1m"]["car"] > 0.3
    assert evaluation["miou"] > 0.6 and evaluation["centre_error_m"]["median"] < 0.6
    assert set(evaluation["by_condition"]) == {"day"}


def test_the_page_tells_the_same(first: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    page = (first[1] / "report.html").read_text(encoding="utf-8")
    evaluation = json.loads((first[1] / "evaluation.json").read_text())
    assert f"<b>{evaluation['miou']:.2f}</b>" in page and f"{evaluation['ap50']['car']:.2f}" in page
    assert page.count("data:image/webp") == 1 and page.count("data:image/jpeg") == 4
    assert "avperception demo --out" in page and "demo_detector, demo_segmenter" in page
    assert "0.0 s   day" in page and "http://" not in page.replace("http://www.w3.org/", "")


def scene(seed: int = 1) -> Scene:
    return Scene(seed, "day", "straight", 0.2, default_rig(1, 32))


def test_a_road_is_rendered_once(tmp_path: Path) -> None:
    rendered: list[int] = []
    made = synthetic_recording(scene(), tmp_path, lambda done, total: rendered.append(done))
    again = synthetic_recording(scene(), tmp_path, lambda *_: pytest.fail("rendered again"))
    assert rendered[-1] == 2 and again == made
    with BagReader(made.path) as bag:
        assert bag.damage is None and bag.message_count > 0


def test_another_road_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "synthetic_road_of_mine.mcap").write_text("mine")
    old = synthetic_recording(scene(1), tmp_path, lambda *_: None).path
    new = synthetic_recording(scene(2), tmp_path, lambda *_: None).path
    assert old != new
    assert {path.name for path in tmp_path.iterdir()} == {new.name, "synthetic_road_of_mine.mcap"}


def test_ctrl_c_while_rendering_leaves_no_road(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.html").write_text("of an earlier run")
    process = start("--out", out, "--seconds", "60", "--cameras", "1")
    deadline = time.monotonic() + 60
    while not list(out.glob(".synthetic_road_*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err, err
    assert not list(out.iterdir())  # a page of an earlier run would belie what is there now


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--condition", "snow"], "condition 'snow' does not exist"),
        (["--cameras", "9"], "9 cameras are not possible"),
        (["--seconds", "-1"], "-1 seconds is not possible"),
        (["--rate", "0"], "a rate of 0 Hz is not possible"),
        (["--real", "drive.mp4", "--seed", "3"], "--seed is of the synthetic road"),
    ],
)
def test_what_cannot_be(tmp_path: Path, arguments: list[str], words: str) -> None:
    assert words in refused(*arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    assert "out" in refused("--out", tmp_path / "out", *SHORT)
    assert (tmp_path / "out").read_text() == "mine"


def test_networks_that_were_never_pulled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVPERCEPTION_MODELS", str(tmp_path))
    message = refused("--real", tmp_path / "drive.mp4", "--out", tmp_path / "out")
    assert "avperception models pull yolox_nano" in message and "\n" not in message


@pytest.fixture(scope="module")
def networks(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    for file in (shared_dir / "models").glob("*.onnx"):
        (folder / file.name).symlink_to(file.resolve())
    return folder


def test_a_recording_that_is_not_there(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVPERCEPTION_MODELS", str(networks))
    message = refused("--real", tmp_path / "drive.mp4", "--out", tmp_path / "out")
    assert "drive.mp4 does not exist" in message


def test_a_video_of_the_users_own(shared_dir: Path, networks: Path, tmp_path: Path) -> None:
    video = tmp_path / "drive.mp4"
    source = cv2.VideoCapture(str(shared_dir / "data" / "video" / "solidWhiteRight.mp4"))
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (960, 540))
    for _ in range(5):
        writer.write(source.read()[1])
    writer.release()

    done = run("--real", video, "--out", tmp_path / "out", models=networks)

    assert done.returncode == 0, done.stderr
    assert "drive.mp4: 5 of 5 frames" in done.stdout and "AP" not in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES - {"evaluation.json"} | {
        "drive.mcap"
    }
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["detections_2d"]["car"] >= 5
    assert "yolox_nano, twinlitenet" in (tmp_path / "out" / "report.html").read_text()
