"""TensorRT and TensorRT-RTX on an NVIDIA GPU behind the Engine protocol; arrays are CuPy's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from avperception.engines.adapter import (
    flavour,
    logger,
    numpy_type,
    one_line,
    recorded_messages,
    scratch_bytes,
    shape_of,
    trt,
)
from avperception.engines.engine import TensorSpec
from avperception.engines.engine_file import EngineFile
from avperception.engines.jit_cache import JitCache
from avperception.engines.machine import current_machine
from avperception.engines.manifest import read_manifest
from avperception.errors import EngineError


class TensorrtEngine:
    """An engine file in GPU memory, its weights there once for all contexts.

    The file is taken as it is: `load_engine` is the way that compares its manifest first. `tf32` says
    whether it was built with TF32 allowed; without it the manifest does. An open axis of an input has
    the usual size of its profile. Raises EngineError if the file is no engine, or none for
    this GPU, driver or version, and where there is no GPU, TensorRT or CuPy.
    """

    def __init__(self, path: Path, tf32: bool | None = None) -> None:
        self._path = path
        self._tf32 = _built_with_tf32(path) if tf32 is None else tf32
        self._cupy = _import_cupy()
        self._machine = current_machine()
        if self._machine.gpu is None:
            raise EngineError(f"{path} needs a GPU: {self._machine.gpu_problem}; set backend to onnxruntime")
        data = _read(path)
        self._cupy.cuda.runtime.free(0)  # makes the CUDA context, without which no runtime cache is read
        # The runtime must outlive the engine, and the engine its contexts.
        self._runtime = trt.Runtime(logger())
        self._engine = _deserialize(self._runtime, data, path)
        self._specs = [_spec(self._engine, index, path) for index in range(self._engine.num_io_tensors)]
        self._jit = JitCache(self._engine, hashlib.sha256(data).hexdigest(), self._machine, self._tf32)
        if any(-1 in spec.shape for spec in self._specs):
            self._specs = self._with_output_shapes()

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """The network's inputs by name."""
        return MappingProxyType({spec.name: spec for spec in self._specs if self._is_input(spec)})

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """The network's outputs by name."""
        return MappingProxyType({spec.name: spec for spec in self._specs if not self._is_input(spec)})

    @property
    def description(self) -> str:
        """The runtime, its version, the GPU, its driver and the engine's file."""
        gpu, driver = self._machine.gpu, self._machine.driver or "unknown"
        return f"{flavour()}, {gpu.name if gpu else 'no GPU'}, driver {driver}, {self._path.name}"

    @property
    def scratch_bytes(self) -> int:
        """GPU memory in which the layers of each context compute; 0 where TensorRT allocates it itself."""
        return scratch_bytes(self._engine)

    @property
    def jit_cache_was_warm(self) -> bool:
        """Whether the kernels of TensorRT-RTX came from the disk and were not compiled anew."""
        return self._jit.warm

    def inspect(self) -> str:
        """The layers as TensorRT itself tells them, JSON."""
        inspector = self._engine.create_engine_inspector()
        return inspector.get_engine_information(trt.LayerInformationFormat.JSON)

    def create_context(self) -> TensorrtContext:
        """Make one user's context with its buffers; TensorRT-RTX compiles its kernels now, if it must.

        Contexts may execute at the same time, each on a stream of its own; each takes
        `scratch_bytes` of the GPU beside its inputs and outputs. Raises EngineError.
        """
        made = TensorrtContext(self._path, self._cupy, self, self._context())
        self._jit.keep()
        return made

    def _context(self) -> trt.IExecutionContext:
        with recorded_messages() as messages:
            context = self._jit.create_context(self._engine)
        if context is None:
            reason = messages.reason
            if not self._tf32 and "compilation failed" in reason:
                reason += (
                    f": {flavour()} may have TF32 kernels only for a layer of it, build it with `--tf32`"
                )
            free, total = self._cupy.cuda.runtime.memGetInfo()
            raise EngineError(
                f"{self._path}: no execution context can be made: {reason} "
                f"({free >> 20} of {total >> 20} MiB of the GPU's memory are free)"
            )
        return context

    def _with_output_shapes(self) -> list[TensorSpec]:
        """The tensors with the shapes that the usual shapes of the inputs lead to."""
        context = self._context()
        for spec in self.inputs.values():
            context.set_input_shape(spec.name, spec.shape)
        return [
            TensorSpec(spec.name, shape_of(context.get_tensor_shape(spec.name)), spec.dtype)
            for spec in self._specs
        ]

    def _is_input(self, spec: TensorSpec) -> bool:
        return self._engine.get_tensor_mode(spec.name) == trt.TensorIOMode.INPUT


class TensorrtContext:
    """Input and output arrays in GPU memory, bound once; `execute` allocates nothing and can be captured."""

    def __init__(self, path: Path, cupy: Any, engine: TensorrtEngine, context: trt.IExecutionContext) -> None:
        self._path = path
        self._cupy = cupy
        self._engine = engine  # keeps the weights alive
        self._context = context
        try:
            self._stream = cupy.cuda.Stream(non_blocking=True)
            self._scratch = self._give_scratch()
            self._inputs = self._bind(engine.inputs)
            self._outputs = self._bind(engine.outputs)
        except cupy.cuda.memory.OutOfMemoryError as error:
            raise EngineError(f"{path}: the GPU has no memory left for its buffers: {error}") from error
        except cupy.cuda.runtime.CUDARuntimeError as error:
            raise EngineError(f"{path}: CUDA failed while its buffers were made: {error}") from error
        # The first execution loads modules and sets things up, which a capture does not allow.
        self.execute()

    @property
    def inputs(self) -> Mapping[str, Any]:
        """The CuPy arrays to write before `execute`, by name."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The CuPy arrays to read after `execute`, by name."""
        return self._outputs

    def execute(self, stream: Any = None) -> None:
        """Put the network on the CuPy `stream`, also one that is being captured, and return at once.

        Without a stream it runs on the context's own after all that was put on CuPy's current stream,
        and this waits for the result. Raises EngineError.
        """
        if stream is not None:
            self._enqueue(stream)
            return
        try:
            self._stream.wait_event(self._cupy.cuda.get_current_stream().record())
            self._enqueue(self._stream)
            self._stream.synchronize()
        except self._cupy.cuda.runtime.CUDARuntimeError as error:
            raise EngineError(f"{self._path}: execution failed on the GPU: {one_line(str(error))}") from error

    def is_capturable(self, stream: Any) -> bool:
        """Whether TensorRT says that this context can be captured; TensorRT itself always can."""
        ask = getattr(self._context, "is_stream_capturable", None)
        return True if ask is None else bool(ask(stream.ptr))

    def _enqueue(self, stream: Any) -> None:
        with recorded_messages() as messages:
            done = self._context.execute_async_v3(stream.ptr)
        if not done:
            raise EngineError(f"{self._path}: execution failed: {messages.reason}")

    def _give_scratch(self) -> Any:
        """Allocate the memory that layers compute in; the context uses it as long as it lives."""
        size = self._engine.scratch_bytes
        if not size:
            return None
        memory = self._cupy.cuda.alloc(size)
        self._context.set_device_memory(memory.ptr, size)
        return memory

    def _bind(self, specs: Mapping[str, TensorSpec]) -> Mapping[str, Any]:
        arrays = {}
        for name, spec in specs.items():
            if name in self._engine.inputs:
                self._context.set_input_shape(name, spec.shape)
            arrays[name] = self._cupy.zeros(spec.shape, spec.dtype)
            if not self._context.set_tensor_address(name, arrays[name].data.ptr):
                raise EngineError(f"{self._path}: TensorRT refuses the buffer of `{name}`")
        return MappingProxyType(arrays)


def _import_cupy() -> Any:
    try:
        import cupy
    except ImportError as error:
        raise EngineError(
            f"backend tensorrt needs CuPy ({error}): run `pip install cupy-cuda13x` (for CUDA 12 "
            "cupy-cuda12x), or set backend to onnxruntime"
        ) from error
    return cupy


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EngineError(f"engine {path} cannot be read: {error.strerror or error}") from error
    if not data:
        raise EngineError(f"engine {path} is empty: build it anew with `avperception engine build`")
    return data


def _built_with_tf32(path: Path) -> bool:
    """Whether an engine was built with TF32 allowed; one without a manifest was, unless told otherwise."""
    try:
        return read_manifest(EngineFile(path).manifest_path).build.tf32
    except EngineError:
        return True


def _deserialize(runtime: trt.Runtime, data: bytes, path: Path) -> trt.ICudaEngine:
    with recorded_messages() as messages:
        engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise EngineError(
            f"{path} is no engine for {flavour()} on this GPU: {messages.reason}: "
            "build it anew with `avperception engine build`"
        )
    return engine


def _spec(engine: trt.ICudaEngine, index: int, path: Path) -> TensorSpec:
    name = engine.get_tensor_name(index)
    shape = shape_of(engine.get_tensor_shape(name))
    if -1 in shape and engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
        shape = shape_of(engine.get_tensor_profile_shape(name, 0)[1])
    try:
        dtype = numpy_type(engine.get_tensor_dtype(name))
    except TypeError as error:
        raise EngineError(f"{path}: `{name}` is of a type that NumPy does not know: {error}") from error
    return TensorSpec(name, shape, dtype)
