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
from avperception.engines.tensorrt import TensorrtContext, TensorrtEngine
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


def ready_context(engine: TensorrtEngine, seed: int) -> TensorrtContext:
    """A context with noise as bright as an image in its input."""
    context = engine.create_context()
    noise = np.random.default_rng(seed).random(context.inputs["images"].shape, dtype=np.float32)
    context.inputs["images"].set(255 * noise if "yolox" in engine.description else noise)
    return context


def results(context: TensorrtContext) -> dict[str, np.ndarray]:
    return {name: output.get() for name, output in context.outputs.items()}


def built_engine(model: str, precision: str, models: Path) -> TensorrtEngine:
    card = find_card(model)
    build_engine(BuildRequest(card, precision), lambda stage, part: None)  # type: ignore[arg-type]
    engine = load_engine(models / card.file, "tensorrt", precision=precision, card=card)
    assert isinstance(engine, TensorrtEngine)
    return engine


@gpu
@pytest.mark.parametrize(
    ("model", "precision", "limit"),
    [("twinlitenet", "fp32", 1e-3), ("twinlitenet", "fp16", 2e-2), ("yolox_nano", "fp32", 1e-3)],
)
def test_an_engine_computes_what_onnx_runtime_computes(
    model: str, precision: str, limit: float, rtx: Flavour, models: Path
):
    context = ready_context(built_engine(model, precision, models), seed=0)
    reference = load_engine(models / find_card(model).file, "onnxruntime").create_context()
    reference.inputs["images"][...] = context.inputs["images"].get()
    reference.execute()
    context.execute()
    for name, found in results(context).items():
        expected = reference.outputs[name]
        assert np.linalg.norm(found - expected) <= limit * np.linalg.norm(expected)


@gpu
def test_contexts_at_work_side_by_side_are_captured_in_one_graph_that_allocates_nothing(
    rtx: Flavour, models: Path
):
    import cupy

    engine = built_engine("twinlitenet", "fp16", models)
    contexts = [ready_context(engine, seed) for seed in (1, 2)]
    expected = []
    for context in contexts:
        context.execute()
        expected.append(results(context))
    assert any((expected[0][name] != expected[1][name]).any() for name in expected[0])
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in contexts]
    forked, joined = (cupy.cuda.Event(disable_timing=True) for _ in range(2))
    assert all(context.is_capturable(stream) for context, stream in zip(contexts, streams, strict=True))
    with streams[0]:
        streams[0].begin_capture()
        forked.record(streams[0])
        streams[1].wait_event(forked)
        for context, stream in zip(contexts, streams, strict=True):
            context.execute(stream)
        joined.record(streams[1])
        streams[0].wait_event(joined)
        graph = streams[0].end_capture()
    for context in contexts:
        for output in context.outputs.values():
            output.fill(np.nan)
    cupy.cuda.Device().synchronize()
    graph.launch(streams[0])  # the first launch brings the graph itself onto the GPU
    streams[0].synchronize()
    used = cupy.cuda.runtime.memGetInfo()
    graph.launch(streams[0])
    streams[0].synchronize()
    assert cupy.cuda.runtime.memGetInfo() == used
    for context, wanted in zip(contexts, expected, strict=True):
        for name, found in results(context).items():
            np.testing.assert_array_equal(found, wanted[name])


@gpu
def test_a_file_that_is_no_engine_is_one_clear_error(tmp_path: Path):
    for name, data in [("text.engine", b"not an engine" * 100), ("empty.engine", b"")]:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(EngineError, match=name) as caught:
            TensorrtEngine(tmp_path / name)
        assert "\n" not in str(caught.value)
