"""ONNX files of a node or two, written from the wire format itself, and a real engine built once."""

import platform
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from avperception.engines.adapter import TENSORRT_RTX, Flavour, probe
from avperception.engines.builder import BuildRequest, build_engine
from avperception.engines.engine_file import EngineFile
from avperception.engines.machine import Gpu, Machine
from avperception.engines.manifest import read_manifest
from avperception.engines.options import CompilerOptions
from avperception.models.library import find_card

ELEMENT_TYPES = {"float32": 1, "uint8": 2, "int64": 7, "bool": 9, "float16": 10}
"""TensorProto.DataType of onnx.proto."""

Tensor = tuple[str, str, Sequence["int | str"]]
"""Name, element type, and sizes, a name for an open one."""


def field(number: int, value: "int | str | bytes") -> bytes:
    """One protobuf field: a varint, or bytes with their length before them."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    if value < 128:
        return bytes([value])
    return bytes([value % 128 | 128]) + varint(value // 128)


def value_info(tensor: Tensor) -> bytes:
    name, element_type, sizes = tensor
    dimensions = b"".join(field(1, field(2 if isinstance(size, str) else 1, size)) for size in sizes)
    return field(1, name) + field(2, field(1, field(1, ELEMENT_TYPES[element_type]) + field(2, dimensions)))


@pytest.fixture
def write_network(tmp_path: Path) -> Callable[..., Path]:
    """Write a network whose one node applies `operator` to the inputs and gives the output."""

    def write(operator: str, inputs: Sequence[Tensor], output: Tensor) -> Path:
        node = b"".join(field(1, name) for name, _, _ in inputs) + field(2, output[0]) + field(4, operator)
        graph = field(1, node) + field(2, "graph")
        graph += b"".join(field(11, value_info(tensor)) for tensor in inputs) + field(12, value_info(output))
        path = tmp_path / f"{operator}.onnx"
        path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(2, 17)))
        return path

    return write


@pytest.fixture(scope="session")
def rtx() -> Flavour:
    """TensorRT-RTX; it builds engines without a GPU, but there are wheels of it for Linux on x86-64 only."""
    found = probe(TENSORRT_RTX)
    if isinstance(found, Flavour):
        return found
    if (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        pytest.fail(f"TensorRT-RTX cannot be used ({found}): run `make setup`")
    pytest.skip(f"there is no TensorRT-RTX for {platform.system()} on {platform.machine()}")


@pytest.fixture(autouse=True)
def _own_folders(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the user's engines and caches."""
    monkeypatch.setenv("AVPERCEPTION_ENGINES", str(tmp_path_factory.mktemp("engines")))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("AVPERCEPTION_TENSORRT", raising=False)


@pytest.fixture
def models(shared_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shared networks, found by the names of their cards."""
    monkeypatch.setenv("AVPERCEPTION_MODELS", str(shared_dir / "models"))
    return shared_dir / "models"


@pytest.fixture(scope="session")
def built(rtx: Flavour, shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real engine with all that lies beside it: TwinLiteNet in FP32 for compute capability 8.6 and 8.9."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVPERCEPTION_MODELS", str(shared_dir / "models"))
        patch.setenv("AVPERCEPTION_ENGINES", str(tmp_path_factory.mktemp("built")))
        options = CompilerOptions(targets=("8.6", "8.9"))
        request = BuildRequest(find_card("twinlitenet"), "fp32", options)
        return build_engine(request, lambda stage, part: None).file.path


@pytest.fixture
def engine(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineFile:
    """A copy of the built engine that a test may damage."""
    folder = tmp_path / "engines"
    folder.mkdir()
    for path in built.parent.glob(f"{built.stem}.*"):
        shutil.copy(path, folder)
    monkeypatch.setenv("AVPERCEPTION_ENGINES", str(folder))
    return EngineFile(folder / built.name)


@pytest.fixture
def fitting(engine: EngineFile) -> Machine:
    """A machine that the built engine fits."""
    manifest = read_manifest(engine.manifest_path)
    return Machine(
        platform=manifest.target.platform,
        gpu=Gpu("NVIDIA RTX A4000", "8.6", 16 << 30),
        gpu_problem=None,
        driver="580.65.06",
        cuda="13.0",
        flavour=manifest.tensorrt.flavour,
        version=manifest.tensorrt.version,
    )
