from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from avperception.calibration.set import CalibrationSet
from avperception.models.card import ModelCard
from avperception.models.card_file import load_card


@pytest.fixture(scope="session")
def street(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> CalibrationSet:
    """Twelve real images: three of KITTI, nine of a motorway."""
    folder = tmp_path_factory.mktemp("street")
    for path in sorted((shared_dir / "data/kitti/training/image_2").glob("*.png")):
        cv2.imwrite(str(folder / f"kitti_{path.name}"), cv2.imread(str(path)))
    video = cv2.VideoCapture(str(shared_dir / "data/video/solidWhiteRight.mp4"))
    for index in range(220):
        read, pixels = video.read()
        if read and index % 25 == 10:
            cv2.imwrite(str(folder / f"motorway_{index:03d}.png"), pixels)
    video.release()
    return CalibrationSet.load(folder)


@pytest.fixture(scope="session")
def yolox_card(repository: Path) -> ModelCard:
    return load_card(repository / "config/models/yolox_nano.yaml")


@pytest.fixture(scope="session")
def twinlitenet_card(repository: Path) -> ModelCard:
    return load_card(repository / "config/models/twinlitenet.yaml")


@pytest.fixture(scope="session")
def yolox(shared_dir: Path) -> Path:
    return shared_dir / "models/yolox_nano_416.onnx"


@pytest.fixture(scope="session")
def twinlitenet(shared_dir: Path) -> Path:
    return shared_dir / "models/twinlitenet_360x640.onnx"
