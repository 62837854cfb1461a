from collections.abc import Callable
from pathlib import Path

import pytest
from recorded import run_replay

from avperception.bags import BagWriter, convert_kitti


@pytest.fixture(scope="session")
def networks(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for AVPERCEPTION_MODELS with the shared networks."""
    folder = tmp_path_factory.mktemp("networks")
    for file in (shared_dir / "models").glob("*.onnx"):
        (folder / file.name).symlink_to(file.resolve())
    return folder


@pytest.fixture
def with_networks(networks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVPERCEPTION_MODELS", str(networks))


@pytest.fixture(scope="session")
def kitti_bag(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kitti") / "kitti.mcap"
    with BagWriter(path) as writer:
        assert convert_kitti(shared_dir / "data" / "kitti" / "training", writer).failures == ()
    return path


@pytest.fixture(scope="session")
def replayed(
    kitti_bag: Path, networks: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[int], Path]:
    """Folders with the results of replaying the KITTI frames, the first, second... time."""
    folders: dict[int, Path] = {}

    def folder(number: int) -> Path:
        if number not in folders:
            folders[number] = tmp_path_factory.mktemp("replayed")
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("AVPERCEPTION_MODELS", str(networks))
                run_replay(kitti_bag, folders[number])
        return folders[number]

    return folder
