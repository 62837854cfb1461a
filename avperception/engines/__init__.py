"""Networks ready to run: inference runtimes behind one Engine protocol."""

from __future__ import annotations

from pathlib import Path

from avperception.engines.engine import Engine, ExecutionContext, TensorSpec
from avperception.engines.onnxruntime import OnnxRuntimeEngine
from avperception.errors import ConfigurationError, EngineError

BACKENDS = ("auto", "tensorrt", "onnxruntime")
"""What the parameter `backend` may be."""

__all__ = ["BACKENDS", "Engine", "ExecutionContext", "TensorSpec", "load_engine"]


def load_engine(path: Path, backend: str = "auto", threads: int = 0) -> Engine:
    """Make an engine of an ONNX file with the runtime `backend`, `auto` for the best one there is.

    `threads` is for the CPU: 0 leaves their number to the runtime. Raises EngineError, and
    ConfigurationError for a backend of another name.
    """
    if backend not in BACKENDS:
        raise ConfigurationError(f"backend is {backend!r}: it must be one of {', '.join(BACKENDS)}")
    if backend == "tensorrt":
        raise EngineError("backend tensorrt is not part of this version: set backend to auto or onnxruntime")
    return OnnxRuntimeEngine(path, threads)
