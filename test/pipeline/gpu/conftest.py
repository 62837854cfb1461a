"""The whole camera pipeline on a GPU; its tests are left out, with the reason, where there is none.

Engines are built once a session for the GPU that is here, in a temporary folder; with AVPERCEPTION_ENGINES
set they are kept there for the next one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from frames import SceneFrame, recorded_frames

from avperception.engines import find_engine
from avperception.engines.adapter import flavour
from avperception.engines.onnxruntime import OnnxRuntimeEngine
from avperception.errors import EngineError, ModelError
from avperception.models import find_card, locate
from avperception.pipeline.camera import CameraPipeline
from avperception.pipeline.detector import DetectorSettings
from avperception.pipeline.device import CpuDevice
from avperception.pipeline.device.cuda_errors import import_cupy
from avperception.pipeline.network import Network

sys.path.append(str(Path(__file__).resolve().parents[2] / "ops"))  # the images of `pixels` serve here too

DETECTOR, SEGMENTER = "demo_detector", "demo_segmenter"

MakePipeline = Callable[..., CameraPipeline]


@pytest.fixture(scope="session")
def cupy() -> Any:
    """CuPy, if it sees a GPU and there is a TensorRT to build engines with."""
    try:
        flavour()
        return import_cupy()
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def _folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where engines go and where the shared networks are."""
    shared = Path(os.environ.get("AVPERCEPTION_SHARED", Path(__file__).parents[4] / "shared"))
    with pytest.MonkeyPatch.context() as patch:
        if "AVPERCEPTION_ENGINES" not in os.environ:
            patch.setenv("AVPERCEPTION_ENGINES", str(tmp_path_factory.mktemp("engines")))
        if "AVPERCEPTION_MODELS" not in os.environ:
            patch.setenv("AVPERCEPTION_MODELS", str(shared / "models"))
        yield


@pytest.fixture(scope="session")
def gpu_network(cupy: Any, _folders: None) -> Callable[[str, str], Network]:
    """Gives the network of a card's name as an engine of a precision, built when first asked for."""
    from avperception.engines.tensorrt import TensorrtEngine

    loaded: dict[tuple[str, str], Network] = {}

    def load(name: str, precision: str) -> Network:
        if (name, precision) not in loaded:
            card = find_card(name)
            file = find_engine(_network_of(name), precision, "rebuild", card)
            loaded[name, precision] = Network(card, TensorrtEngine(file.path))
        return loaded[name, precision]

    return load


@pytest.fixture(scope="session")
def cpu_network(_folders: None) -> Callable[[str], Network]:
    """Gives the network of a card's name on the CPU, which is the reference."""
    loaded: dict[str, Network] = {}

    def load(name: str) -> Network:
        if name not in loaded:
            loaded[name] = Network(find_card(name), OnnxRuntimeEngine(_network_of(name)))
        return loaded[name]

    return load


def _network_of(name: str) -> Path:
    try:
        return locate(find_card(name))
    except ModelError as error:
        pytest.skip(f"{error}, or set AVPERCEPTION_SHARED to a folder with models/")


@pytest.fixture(scope="session")
def on_gpu(gpu_network: Callable[[str, str], Network]) -> MakePipeline:
    """Makes pipelines of the package's own or other networks on the GPU; keywords go to the device."""

    def make(
        settings: DetectorSettings | None = None,
        networks: tuple[str | None, str | None] = (DETECTOR, SEGMENTER),
        precision: str = "fp16",
        name: str = "front",
        segmenter_precision: str | None = None,
        **device: Any,
    ) -> CameraPipeline:
        from avperception.pipeline.device.cuda import CudaDevice

        precisions = precision, segmenter_precision or precision
        both = [gpu_network(*which) if which[0] else None for which in zip(networks, precisions, strict=True)]
        return CameraPipeline(name, *both, settings or DetectorSettings(), CudaDevice(**device))

    return make


@pytest.fixture(scope="session")
def on_cpu(cpu_network: Callable[[str], Network]) -> MakePipeline:
    """Makes pipelines of the same networks on the CPU."""

    def make(
        settings: DetectorSettings | None = None,
        networks: tuple[str | None, str | None] = (DETECTOR, SEGMENTER),
    ) -> CameraPipeline:
        both = [cpu_network(network) if network else None for network in networks]
        return CameraPipeline("front", *both, settings or DetectorSettings(), CpuDevice())

    return make


@pytest.fixture(scope="session")
def scene(cupy: Any, tmp_path_factory: pytest.TempPathFactory) -> list[SceneFrame]:
    """The images of a recording of the synthetic road, three cameras by day and night, with their truth."""
    return recorded_frames(tmp_path_factory.mktemp("scene") / "scene.mcap")


@pytest.fixture(scope="module")
def pipeline(on_gpu: MakePipeline) -> CameraPipeline:
    """A camera on the GPU, detector and segmenter in FP16, shared by the tests of a module."""
    return on_gpu()
