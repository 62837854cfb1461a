"""`avperception calibrate`: from recordings to a set, and what it says of it."""

from __future__ import annotations

import json
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

from avperception.bags import BagReader, BagWriter, convert_video, typestore
from avperception.calibration.set import CalibrationSet
from avperception.cli.calibrate import app
from avperception.errors import BagError, ConfigurationError


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def drive(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The motorway by day, 221 frames."""
    path = tmp_path_factory.mktemp("bags") / "drive.mcap"
    with BagWriter(path) as writer:
        convert_video(shared_dir / "data/video/solidWhiteRight.mp4", writer, compressed=True)
    return path


def write_images(path: Path, brightnesses: list[int], corrupt: int | None = None) -> Path:
    """A recording of raw images, one of them with too few bytes."""
    store = typestore()
    types = store.types
    rng = np.random.default_rng(0)
    with BagWriter(path) as writer:
        writer.add_topic("/camera/image_raw", "sensor_msgs/msg/Image")
        for index, brightness in enumerate(brightnesses):
            coarse = rng.integers(0, 30, (6, 8, 3), dtype=np.uint8)
            pixels = cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_NEAREST) + np.uint8(brightness)
            data = pixels.ravel()[:100] if index == corrupt else pixels.ravel()
            stamp = types["builtin_interfaces/msg/Time"](sec=index + 1, nanosec=0)
            header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")
            message = types["sensor_msgs/msg/Image"](
                header=header, height=48, width=64, encoding="bgr8", is_bigendian=0, step=192, data=data
            )
            writer.write("/camera/image_raw", (index + 1) * 10**9, message)
    return path


def test_collect_and_report(drive: Path, tmp_path: Path) -> None:
    result = run("collect", drive, "--out", tmp_path / "set", "--count", 12)
    assert result.exit_code == 0, result.output
    assert "set: 12 of 221 images" in result.stdout
    assert "missing: night: add frames at night" in result.stdout
    calibration = CalibrationSet.load(tmp_path / "set")
    assert len(calibration) == 12
    description = json.loads((tmp_path / "set/set.json").read_text())
    assert description["hash"] == calibration.hash
    stamps = [entry["stamp_ns"] for entry in description["images"]]
    assert stamps == sorted(set(stamps))
    assert stamps[-1] - stamps[0] > 4e9  # over the whole drive of 7 s, not its beginning
    assert {entry["bag"] for entry in description["images"]} == {"drive.mcap"}

    again = run("collect", drive, "--out", tmp_path / "again", "--count", 12)
    assert again.exit_code == 0
    assert CalibrationSet.load(tmp_path / "again").hash == calibration.hash

    picture = tmp_path / "coverage.png"
    result = run("report", tmp_path / "set", "--out", picture, "--json")
    assert result.exit_code == 0
    coverage = json.loads(result.stdout)
    assert coverage["images"] == 12
    assert "tunnel" in coverage["missing"]
    pixels = cv2.imread(str(picture))
    assert pixels is not None
    assert pixels.shape[1] > 1000
    assert len(np.unique(pixels)) > 100


def test_the_rare_dark_images_are_in_the_set_and_a_corrupt_one_is_counted(tmp_path: Path) -> None:
    bag = write_images(tmp_path / "b.mcap", [150] * 40 + [10, 200] + [150] * 40, corrupt=60)
    result = run("collect", bag, "--out", tmp_path / "set", "--count", 6)
    assert result.exit_code == 0, result.output
    assert "skipped 1 images: wrong_data_size 1" in result.stderr
    brightness = [m.statistics.brightness for m in CalibrationSet.load(tmp_path / "set").members]
    assert min(brightness) < 0.15
    assert max(brightness) > 0.8
    assert json.loads((tmp_path / "set/set.json").read_text())["skipped"] == {"wrong_data_size": 1}


CAMERA_INFO = "sensor_msgs/msg/CameraInfo"


def with_topics(source: Path, path: Path, topics: dict[str, str]) -> Path:
    """The images of a recording on these topics in turn; those of CameraInfo stay empty."""
    with BagReader(source) as reader:
        images = [reader.deserialize(message) for message in reader.messages()]
    names = [name for name, kind in topics.items() if kind != CAMERA_INFO]
    with BagWriter(path) as writer:
        for name, kind in topics.items():
            writer.add_topic(name, kind)
        for index, image in enumerate(images):
            writer.write(names[index % len(names)], (index + 1) * 10**9, image)
    return path


def test_masks_and_overlays_are_no_camera_images(tmp_path: Path) -> None:
    raw, info = "sensor_msgs/msg/Image", CAMERA_INFO
    source = write_images(tmp_path / "source.mcap", [40, 60, 80, 100, 120, 140, 160, 180])
    topics = {"/front/image_raw": raw, "/front/camera_info": info, "/front/mask/image": raw, "/overlay": raw}
    bag = with_topics(source, tmp_path / "b.mcap", topics)
    result = run("collect", bag, "--out", tmp_path / "set")
    assert result.exit_code == 0, result.output
    assert "no camera_info is beside: /front/mask/image, /overlay; --topic takes one" in result.stderr
    assert "set: 3 of 3 images" in result.stdout
    entries = json.loads((tmp_path / "set/set.json").read_text())["images"]
    assert {entry["topic"] for entry in entries} == {"/front/image_raw"}

    named = run("collect", bag, "--out", tmp_path / "named", "--topic", "/overlay")
    assert "named: 2 of 2 images" in named.stdout
    assert "camera_info" not in named.stderr

    without = with_topics(source, tmp_path / "without.mcap", {"/a/image": raw, "/b": raw})
    assert "all: 8 of 8 images" in run("collect", without, "--out", tmp_path / "all").stdout


def test_a_compressed_image_belongs_to_the_camera_info_of_its_base_topic(drive: Path, tmp_path: Path) -> None:
    with BagReader(drive) as reader:
        topics = {topic.name for topic in reader.topics}
    assert {"/front/image_raw/compressed", "/front/camera_info"} <= topics
    result = run("collect", drive, "--out", tmp_path / "set", "--count", 2)
    assert "221 images" in result.stdout
    assert result.stderr == ""


def test_a_standing_camera_gives_fewer_images(tmp_path: Path) -> None:
    bag = write_images(tmp_path / "b.mcap", [0] * 2)
    with BagReader(bag) as reader:
        raw = [reader.deserialize(message) for message in reader.messages()]
    with BagWriter(tmp_path / "still.mcap") as writer:
        writer.add_topic("/camera/image_raw", "sensor_msgs/msg/Image")
        for index in range(30):
            writer.write("/camera/image_raw", (index + 1) * 10**9, raw[0])
    result = run("collect", tmp_path / "still.mcap", "--out", tmp_path / "set", "--count", 20)
    assert "set: 1 of 30 images" in result.stdout
    assert "look like one of these" in result.stdout


def test_bad_input(tmp_path: Path) -> None:
    bag = write_images(tmp_path / "b.mcap", [50, 100])
    cases: list[tuple[type[Exception], str, tuple[object, ...]]] = [
        (
            BagError,
            "is not there|does not exist|no such",
            ("collect", tmp_path / "no.mcap", "--out", tmp_path / "s"),
        ),
        (
            ConfigurationError,
            "has no image topic /x",
            ("collect", bag, "--out", tmp_path / "s", "--topic", "/x"),
        ),
        (ConfigurationError, "is not empty: name another", ("collect", bag, "--out", tmp_path)),
        (ConfigurationError, "cannot be read: No such file", ("report", tmp_path / "none")),
    ]
    for kind, text, arguments in cases:
        result = run(*arguments)
        assert isinstance(result.exception, kind), (arguments, result.output)
        assert any(part in str(result.exception) for part in text.split("|")), str(result.exception)
        assert not (tmp_path / "s").exists()


def test_a_set_is_replaced_only_when_asked(tmp_path: Path) -> None:
    bag = write_images(tmp_path / "b.mcap", [50, 100])
    assert run("collect", bag, "--out", tmp_path / "set", "--count", 1).exit_code == 0
    refused = run("collect", bag, "--out", tmp_path / "set", "--count", 2)
    assert "give --force to replace it" in str(refused.exception)
    assert len(CalibrationSet.load(tmp_path / "set")) == 1
    assert run("collect", bag, "--out", tmp_path / "set", "--count", 2, "--force").exit_code == 0
    assert len(CalibrationSet.load(tmp_path / "set")) == 2


@pytest.fixture
def small_set(tmp_path: Path) -> Path:
    bag = write_images(tmp_path / "b.mcap", [50, 100])
    folder = tmp_path / "sets" / "city"
    assert run("collect", bag, "--out", folder).exit_code == 0
    return folder


@pytest.mark.parametrize("name", [".", "../city", "../city/../city/."])
def test_a_report_on_the_set_one_stands_in(
    small_set: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(small_set)
    result = run("report", name)
    assert result.exit_code == 0, result.exception
    said = result.stdout.rpartition("picture: ")[2].strip()
    assert Path(said).samefile(small_set.parent / "city_coverage.png")


def test_a_report_on_dot_dot(small_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (small_set / "inner").mkdir()
    monkeypatch.chdir(small_set / "inner")
    assert run("report", "..").exit_code == 0
    assert (small_set.parent / "city_coverage.png").is_file()


def test_where_the_picture_is_said_to_be(small_set: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    result = run("report", small_set, "--out", folder)
    assert isinstance(result.exception, ConfigurationError)
    assert "is a folder: name a file" in str(result.exception)
    assert not (tmp_path / "pictures.png").exists()
    result = run("report", small_set, "--out", tmp_path / "cover")
    assert f"picture: {tmp_path / 'cover.png'}" in result.stdout
    assert (tmp_path / "cover.png").is_file()
    result = run("report", small_set, "--out", tmp_path / "cover.xyz")
    assert "name a .png file" in str(result.exception)


def test_no_room_for_the_picture(small_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    result = run("report", small_set, "--out", tmp_path / "pictures" / "cover.png")
    assert "No space left on device: free the disk or name another file" in str(result.exception)
    assert list((tmp_path / "pictures").iterdir()) == []


def test_ctrl_c_leaves_nothing(drive: Path, tmp_path: Path, repository: Path) -> None:
    code = "from avperception.cli.calibrate import app; app()"
    out = tmp_path / "sets" / "set"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "collect", str(drive), "--out", str(out)],
        cwd=repository,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    deadline = time.monotonic() + 60
    while not (out.parent.is_dir() and any(out.parent.iterdir())) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: nothing was written" in stderr
    assert list(out.parent.iterdir()) == []
