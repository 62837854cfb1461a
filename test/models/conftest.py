import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

CARD = """
name: {name}
file: {name}.onnx
sha256: {sha256}
{source_url}
licence: MIT
task: detection
input: {{tensor: images, colour: bgr, resize: stretch}}
decoder: {{name: yolox, output: output}}
classes: [car]
"""


@pytest.fixture
def model_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own folder of networks, empty, not there yet."""
    folder = tmp_path / "networks"
    monkeypatch.setenv("AVPERCEPTION_MODELS", str(folder))
    return folder


@pytest.fixture
def write_card() -> Callable[..., Path]:
    """Write a card of a network of these bytes into a folder and give its path."""

    def write(folder: Path, name: str = "mine", network: bytes = b"network", url: str | None = None) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.yaml"
        sha256 = hashlib.sha256(network).hexdigest()
        path.write_text(CARD.format(name=name, sha256=sha256, source_url=f"source_url: {url}" if url else ""))
        return path

    return write
