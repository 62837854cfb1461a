"""The runtime on a GPU; without one, that it says what is missing."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from avperception.engines import load_engine
from avperception.engines.adapter import Flavour
from avperception.engines.builder import BuildRequest, build_engine
from avperception.engines.jit_cache import jit_cache_path
from avperception.engines.machine import Gpu, Machine, current_machine
from avperception.engines.options import CompilerOptions
from avperception.engines.tensorrt import TensorrtEngine
from avperception.errors import EngineError
from avperception.models.library import find_card

gpu = pytest.mark.skipif(
    current_machine().gpu is None or find_spec("cupy") is None, reason="needs an NVIDIA GPU and CuPy"
)


@pytest.mark.skipif(find_spec("cupy") is not None, reason="CuPy is installed")
def test_without_cupy_it_says_what_to_install(built: Path):
    with pytest.raises(
        EngineError, match=r"needs CuPy .*pip install cupy-cuda13x.*or set backend to onnxruntime"
    ):
        TensorrtEngine(built)


def test_compiled_kernels_are_kept_by_engine_version_driver_and_gpu():
    machine = Machine(
        "linux-x86_64", Gpu("NVIDIA H200", "9.0", 1 << 37), None, "580.1", "13.0", "tensorrt_rtx", "1.4"
    )
    path = jit_cache_path("ab" * 32, machine)
    assert path.parent.name == "jit"
    others = [
        jit_cache_path("cd" * 32, machine),
        jit_cache_path("ab" * 32, Machine(**{**vars(machine), "driver": "581"})),
        jit_cache_path("ab" * 32, Machine(**{**vars(machine), "version": "1.5"})),
        jit_cache_path("ab" * 32, Machine(**{**vars(machine), "gpu": Gpu("NVIDIA L4", "8.9", 1)})),
    ]
    assert len({path, *others}) == 5


@gpu
@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-3), ("fp16", 2e-2)])
def test_an_engine_computes_what_onnx_runtime_computes(
    precision: str, limit: float, rtx: Flavour, models: Path
):
    card = find_card("twinlitenet")
    build_engine(BuildRequest(card, precision, CompilerOptions()), lambda stage, part: None)  # type: ignore[arg-type]
    network = models / card.file
    context = load_engine(network, "tensorrt", precision=precision, card=card).create_context()
    reference = load_engine(network, "onnxruntime").create_context()
    image = np.random.default_rng(0).random(reference.inputs["images"].shape, dtype=np.float32)
    reference.inputs["images"][...] = image
    context.inputs["images"].set(image)  # type: ignore[attr-defined]
    reference.execute()
    context.execute()
    for name, expected in reference.outputs.items():
        found = context.outputs[name].get()  # type: ignore[attr-defined]
        assert np.abs(found - expected).max() <= limit * np.abs(expected).max()


@gpu
def test_an_execution_is_captured_and_allocates_nothing(rtx: Flavour, models: Path):
    import cupy

    card = find_card("twinlitenet")
    build_engine(BuildRequest(card, "fp16"), lambda stage, part: None)
    context = load_engine(models / card.file, "tensorrt", card=card).create_context()
    context.inputs["images"][...] = 0.5
    context.execute()
    expected = {name: output.get() for name, output in context.outputs.items()}  # type: ignore[attr-defined]
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        context.execute(stream)
        graph = stream.end_capture()
    for output in context.outputs.values():
        output.fill(0)
    cupy.cuda.Device().synchronize()
    used = cupy.cuda.runtime.memGetInfo()
    graph.launch(stream)
    stream.synchronize()
    assert cupy.cuda.runtime.memGetInfo() == used
    for name, output in context.outputs.items():
        np.testing.assert_array_equal(output.get(), expected[name])  # type: ignore[attr-defined]


@gpu
def test_a_file_that_is_no_engine_is_one_clear_error(tmp_path: Path):
    for name, data in [("text.engine", b"not an engine" * 100), ("empty.engine", b"")]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(EngineError, match=name) as caught:
            TensorrtEngine(tmp_path / name)
        assert "\n" not in str(caught.value)
