from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from builders import lidar_mount

from avperception.bags.kitti_dataset import LIDAR_HEIGHT_M, KittiDataset
from avperception.engines.onnxruntime import OnnxRuntimeEngine
from avperception.models import find_card, locate, pull
from avperception.pipeline.network import Network


@pytest.fixture(scope="session")
def networks(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Network]:
    """Gives the real network of a card's name, from the shared files by way of a user's folder."""
    loaded: dict[str, Network] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVPERCEPTION_MODELS", str(tmp_path_factory.mktemp("networks")))
        for name in ("yolox_nano", "twinlitenet"):
            card = find_card(name)
            pull(card, shared_dir / "models" / card.file)
            loaded[name] = Network(card, OnnxRuntimeEngine(locate(card)))
    return lambda name: loaded[name]


@pytest.fixture(scope="session")
def kitti(shared_dir: Path) -> KittiDataset:
    return KittiDataset(shared_dir / "data" / "kitti" / "training")


@pytest.fixture(scope="session")
def kitti_mount() -> np.ndarray:
    """T_base_lidar of KITTI's car."""
    return lidar_mount(LIDAR_HEIGHT_M)


@pytest.fixture(scope="session")
def video_frames(shared_dir: Path) -> list[np.ndarray]:
    """Eight frames, evenly spread over the highway video, as BGR pixels."""
    capture = cv2.VideoCapture(str(shared_dir / "data" / "video" / "solidWhiteRight.mp4"))
    wanted = {round(i * 220 / 7) for i in range(8)}
    frames = []
    for number in range(221):
        assert capture.grab()
        if number in wanted:
            frames.append(capture.retrieve()[1])
    capture.release()
    return frames
