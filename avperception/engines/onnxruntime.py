"""ONNX Runtime on the host's CPU behind the Engine protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avperception.engines.engine import TensorSpec
from avperception.errors import EngineError

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}


class OnnxRuntimeEngine:
    """An ONNX network with static shapes in one ONNX Runtime session, which all contexts share.

    `threads` work on one execution together, 0 leaves their number to ONNX Runtime (one a core); the
    result is the same to the last bit from run to run. Another `provider` than the CPU's is for
    comparisons: inputs and outputs stay on the host. Raises EngineError if the file is not usable.
    """

    def __init__(self, path: Path, threads: int = 0, provider: str = CPU_PROVIDER) -> None:
        self._path = path
        self._threads = threads
        self._provider = provider
        self._session, self._version = _open_session(path, threads, provider)
        self._inputs = _specs(path, "input", self._session.get_inputs())
        self._outputs = _specs(path, "output", self._session.get_outputs())

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """The network's inputs by name."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """The network's outputs by name."""
        return self._outputs

    @property
    def description(self) -> str:
        """The runtime, its version, the device and the threads."""
        if self._provider != CPU_PROVIDER:
            return f"ONNX Runtime {self._version}, {self._provider}"
        threads = f"{self._threads} threads" if self._threads else "one thread per core"
        return f"ONNX Runtime {self._version}, CPU, {threads}"

    def create_context(self) -> OnnxRuntimeContext:
        """Allocate the buffers of one user; contexts may execute at the same time in several threads."""
        return OnnxRuntimeContext(self._path, self._session, self._inputs, self._outputs)


class OnnxRuntimeContext:
    """Input and output arrays that ONNX Runtime reads and writes in place, bound once."""

    def __init__(
        self,
        path: Path,
        session: Any,
        inputs: Mapping[str, TensorSpec],
        outputs: Mapping[str, TensorSpec],
    ) -> None:
        self._path = path
        self._session = session
        self._inputs = _allocate(inputs)
        self._outputs = _allocate(outputs)
        self._binding = session.io_binding()
        _bind(self._binding.bind_input, self._inputs)
        _bind(self._binding.bind_output, self._outputs)

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]:
        """The arrays to write before `execute`, by name."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, NDArray[Any]]:
        """The arrays to read after `execute`, by name."""
        return self._outputs

    def execute(self, stream: Any = None) -> None:
        """Run the network once and wait for it; `stream` has no meaning on the CPU. Raises EngineError."""
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # ONNX Runtime's own exceptions have no common base
            raise EngineError(f"{self._path}: execution failed: {_one_line(error)}") from error


def _open_session(path: Path, threads: int, provider: str) -> tuple[Any, str]:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(f"ONNX Runtime is not there ({error}): run `pip install onnxruntime`") from error
    if not path.is_file():
        raise EngineError(f"network {path} is not there")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors; a warning of an exporter's unused weight helps nobody
    # Idle threads of a session spin by default, in the way of the next session and of everybody else.
    # YOLOX-nano, then TwinLiteNet, 3 ms of Python after each, two threads on two cores, medians of 50 with
    # ONNX Runtime 1.32: 97 ms without spinning, 143 with; on cores that others use too 194 and 328. One
    # network alone on a quiet machine loses by it, 12 instead of 9 ms. To spin within a run only
    # (`session.force_spinning_stop`) is as good on quiet cores and takes 274 ms on busy ones.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:
        raise EngineError(f"{path} cannot be loaded: {_one_line(error)}") from error
    return session, str(onnxruntime.__version__)


def _specs(path: Path, kind: str, nodes: Any) -> Mapping[str, TensorSpec]:
    return MappingProxyType({node.name: _spec(path, kind, node) for node in nodes})


def _spec(path: Path, kind: str, node: Any) -> TensorSpec:
    if node.type not in _DTYPES:
        known = ", ".join(_DTYPES)
        raise EngineError(f"{path}: {kind} `{node.name}` is a {node.type}: usable are {known}")
    sizes = enumerate(node.shape)
    dynamic = [f"{axis} ({size or 'unnamed'})" for axis, size in sizes if not isinstance(size, int)]
    if dynamic:
        raise EngineError(
            f"{path}: {kind} `{node.name}` has no fixed size on axis {', '.join(dynamic)}: export it "
            "with a static shape, or fix it by `python -m onnxruntime.tools.make_dynamic_shape_fixed "
            "--input_name NAME --input_shape 1,3,HEIGHT,WIDTH IN.onnx OUT.onnx` (after `pip install onnx`)"
        )
    return TensorSpec(node.name, tuple(node.shape), np.dtype(_DTYPES[node.type]))


def _allocate(specs: Mapping[str, TensorSpec]) -> Mapping[str, NDArray[Any]]:
    return MappingProxyType({name: np.zeros(spec.shape, spec.dtype) for name, spec in specs.items()})


def _bind(bind: Callable[..., None], arrays: Mapping[str, NDArray[Any]]) -> None:
    for name, array in arrays.items():
        bind(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
