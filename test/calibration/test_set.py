"""Calibration sets on disk: whole, damaged, foreign."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from avperception.calibration.set import CalibrationSet
from avperception.errors import ConfigurationError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "images"
    path.mkdir()
    for index in range(5):
        pixels = np.full((48, 64, 3), 40 * index + 20, np.uint8)
        noise = rng.integers(0, 20, pixels.shape, dtype=np.uint8)
        cv2.imwrite(str(path / f"{index}.png"), pixels + noise)
    return path


def test_a_folder_of_images_is_a_set(folder: Path) -> None:
    (folder / "notes.txt").write_text("not an image")
    calibration = CalibrationSet.load(folder)
    assert len(calibration) == 5
    assert calibration.skipped == ()
    images = list(calibration.images())
    assert [image.frame_id for image in images] == ["0", "1", "2", "3", "4"]
    assert images[0].encoding == "bgr8"
    assert images[0].data.shape == (48, 64, 3)
    assert [image.frame_id for image in calibration.images(range(1, 5, 2))] == ["1", "3"]
    assert calibration.coverage.images == 5


def test_one_corrupt_image_is_skipped_and_named(folder: Path) -> None:
    data = (folder / "2.png").read_bytes()
    (folder / "2.png").write_bytes(data[: len(data) // 10])
    (folder / "3.png").write_bytes(b"")
    calibration = CalibrationSet.load(folder)
    assert len(calibration) + len(calibration.skipped) == 5
    assert "3.png is no image that can be read" in calibration.skipped


def test_the_hash_is_that_of_the_images(folder: Path) -> None:
    before = CalibrationSet.load(folder).hash
    assert CalibrationSet.load(folder).hash == before
    (folder / "4.png").rename(folder / "0a.png")
    assert CalibrationSet.load(folder).hash != before


@pytest.mark.parametrize("content", [[], ["only.txt"], ["broken.png"]])
def test_nothing_usable_is_one_clear_error(tmp_path: Path, content: list[str]) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    for name in content:
        (folder / name).write_text("no image")
    with pytest.raises(ConfigurationError, match=r"holds no usable image.*calibrate collect"):
        CalibrationSet.load(folder)


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none cannot be read: No such file.*calibrate collect"):
        CalibrationSet.load(tmp_path / "none")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_an_unreadable_folder(folder: Path) -> None:
    folder.chmod(0)
    try:
        with pytest.raises(ConfigurationError, match="cannot be read: Permission denied"):
            CalibrationSet.load(folder)
    finally:
        folder.chmod(0o755)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 7, "images": []}', '{"format": 1, "images": [3]}']
)
def test_a_description_that_is_none(folder: Path, text: str) -> None:
    (folder / "set.json").write_text(text)
    with pytest.raises(ConfigurationError, match="not the description of a calibration set"):
        CalibrationSet.load(folder)


def test_a_description_cannot_name_files_elsewhere(folder: Path) -> None:
    calibration = CalibrationSet.load(folder)
    entry = {
        "file": "../../outside.png",
        "sha256": "0" * 64,
        "statistics": calibration.members[0].statistics.as_dict(),
    }
    (folder / "set.json").write_text(json.dumps({"format": 1, "images": [entry]}))
    with pytest.raises(ConfigurationError, match=r"1 damaged: outside\.png is missing"):
        CalibrationSet.load(folder)
