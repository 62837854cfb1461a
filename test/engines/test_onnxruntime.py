import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from avperception.engines import load_engine
from avperception.errors import ConfigurationError, EngineError

NETWORKS = ["yolox_nano_416.onnx", "twinlitenet_360x640.onnx"]


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest, shared_dir: Path) -> Path:
    return shared_dir / "models" / request.param


def noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def test_the_tensors_are_those_of_the_file(shared_dir: Path):
    engine = load_engine(shared_dir / "models" / NETWORKS[1])
    # ../shared/models/README.md
    assert {name: spec.shape for name, spec in engine.inputs.items()} == {"images": (1, 3, 360, 640)}
    assert {name: spec.shape for name, spec in engine.outputs.items()} == {
        "da": (1, 2, 360, 640),
        "ll": (1, 2, 360, 640),
    }
    assert {spec.dtype for spec in [*engine.inputs.values(), *engine.outputs.values()]} == {
        np.dtype("float32")
    }
    assert "ONNX Runtime" in engine.description
    assert onnxruntime.__version__ in engine.description


def test_a_context_computes_in_its_own_arrays_what_the_runtime_computes(network: Path):
    context = load_engine(network).create_context()
    arrays = dict(context.inputs), dict(context.outputs)
    plain = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    for seed in (1, 2):  # the second one shows that the arrays are read and written anew
        images = noise(context.inputs["images"].shape, seed)
        context.inputs["images"][...] = images
        context.execute()
        expected = dict(
            zip(context.outputs, plain.run(list(context.outputs), {"images": images}), strict=True)
        )
        for name, output in expected.items():
            np.testing.assert_allclose(context.outputs[name], output, rtol=1e-4, atol=1e-4)
            assert output.std() > 0
    for before, after in zip(arrays, (context.inputs, context.outputs), strict=True):
        assert all(after[name] is array for name, array in before.items())


def test_the_same_input_gives_the_same_bits(network: Path):
    engine = load_engine(network)
    results = []
    for context in (engine.create_context(), engine.create_context(), load_engine(network).create_context()):
        for seed in (3, 4, 3):
            context.inputs["images"][...] = noise(context.inputs["images"].shape, seed)
            context.execute()
            results.append({name: array.copy() for name, array in context.outputs.items()})
    for index, result in enumerate(results):
        twin = results[1 if index % 3 == 1 else 0]
        for name, array in result.items():
            np.testing.assert_array_equal(array, twin[name])


def test_contexts_run_at_the_same_time_in_several_threads(shared_dir: Path):
    engine = load_engine(shared_dir / "models" / NETWORKS[0])

    def outputs_of(seeds: list[int]) -> list[np.ndarray]:
        context = engine.create_context()
        results = []
        for seed in seeds:
            context.inputs["images"][...] = noise(context.inputs["images"].shape, seed)
            context.execute()
            results.append(context.outputs["output"].copy())
        return results

    seeds = [[thread, thread + 10, thread + 20] for thread in range(4)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(outputs_of, seeds))
    for one, alone in zip(together, map(outputs_of, seeds), strict=True):
        np.testing.assert_array_equal(one, alone)


@pytest.mark.parametrize("dtype", ["float16", "uint8", "int64"])
def test_other_element_types_go_through(write_network: Callable[..., Path], dtype: str):
    path = write_network("Identity", [("x", dtype, [2, 3])], ("y", dtype, [2, 3]))
    context = load_engine(path).create_context()
    context.inputs["x"][...] = np.arange(6).reshape(2, 3)
    context.execute()
    assert context.outputs["y"].dtype == dtype
    np.testing.assert_array_equal(context.outputs["y"], [[0, 1, 2], [3, 4, 5]])


def test_an_unusable_element_type_is_refused(write_network: Callable[..., Path]):
    path = write_network("Not", [("x", "bool", [2])], ("y", "bool", [2]))
    with pytest.raises(EngineError, match=r"input `x` is a tensor\(bool\): usable are tensor\(float\), "):
        load_engine(path)


@pytest.mark.parametrize(
    ("sizes", "axes"),
    [(["batch", 3, 8, 8], r"0 \(batch\)"), ([1, 3, "h", "w"], r"2 \(h\), 3 \(w\)")],
)
def test_an_open_axis_is_named_with_what_to_do(write_network: Callable[..., Path], sizes: list, axes: str):
    path = write_network("Neg", [("x", "float32", sizes)], ("y", "float32", sizes))
    with pytest.raises(
        EngineError, match=f"input `x` has no fixed size on axis {axes}: .*static shape"
    ) as caught:
        load_engine(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_network_is_an_error_of_one_line(
    tmp_path: Path, write_network: Callable[..., Path]
):
    (tmp_path / "text.onnx").write_text("not a network")
    (tmp_path / "empty.onnx").write_bytes(b"")
    unknown = write_network("NoSuchOperator", [("x", "float32", [2])], ("y", "float32", [2]))
    for path in (
        tmp_path / "text.onnx",
        tmp_path / "empty.onnx",
        tmp_path / "absent.onnx",
        tmp_path,
        unknown,
    ):
        with pytest.raises(EngineError, match=str(path)) as caught:
            load_engine(path)
        assert "\n" not in str(caught.value)


def test_an_execution_that_fails_is_an_engine_error_and_the_context_goes_on(
    write_network: Callable[..., Path],
):
    path = write_network("Gather", [("x", "float32", [4]), ("i", "int64", [2])], ("y", "float32", [2]))
    context = load_engine(path).create_context()
    context.inputs["x"][...] = [10, 11, 12, 13]
    context.inputs["i"][...] = [1, 99]
    with pytest.raises(EngineError, match=r"Gather\.onnx: execution failed: .*bounds") as caught:
        context.execute()
    assert "\n" not in str(caught.value)
    context.inputs["i"][...] = [1, 3]
    context.execute()
    np.testing.assert_array_equal(context.outputs["y"], [11, 13])


def test_the_backend_is_chosen_by_name(shared_dir: Path):
    path = shared_dir / "models" / NETWORKS[0]
    for backend in ("auto", "onnxruntime"):
        assert "ONNX Runtime" in load_engine(path, backend, threads=1).description
    with pytest.raises(EngineError, match=r"there is no fp16 engine of .* set backend to onnxruntime"):
        load_engine(path, "tensorrt")
    with pytest.raises(ConfigurationError, match="must be one of auto, tensorrt, onnxruntime"):
        load_engine(path, "cuda")


def test_onnx_runtime_is_imported_when_it_is_needed_and_missed_with_one_line(tmp_path: Path):
    (tmp_path / "any.onnx").write_bytes(b"")
    script = f"""
import sys
from pathlib import Path
from avperception.engines import load_engine
assert "onnxruntime" not in sys.modules
sys.modules["onnxruntime"] = None
try:
    load_engine(Path({str(tmp_path / "any.onnx")!r}))
except Exception as error:
    print(type(error).__name__, error)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("EngineError ")
    assert "pip install onnxruntime" in result.stdout
