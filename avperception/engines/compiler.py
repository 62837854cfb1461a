"""An ONNX file in, the bytes of an engine out: TensorRT's parser and builder, with errors of one line."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avperception.engines.adapter import (
    Messages,
    flavour,
    fp32_products,
    logger,
    one_line,
    recorded_messages,
    require_given_memory,
    set_targets,
    target_names,
    tf32_kernels,
    trt,
)
from avperception.engines.layers import Layer, layers_of_inspector, layers_of_listing
from avperception.engines.machine import current_machine
from avperception.engines.options import CURRENT, CompilerOptions
from avperception.engines.parsing import CompiledTensor, parse_network, tensors_of
from avperception.engines.progress import BuildProgress, make_monitor
from avperception.engines.sparsity import refuse_dense
from avperception.engines.timing_cache import TimingCache
from avperception.errors import EngineError

ProgressCallback = Callable[[float, str], None]
"""Called with the part that is done, 0 to 1, and the name of the phase."""

_MEMORY = {
    "activation_bytes": re.compile(r"Total Activation Memory: (\d+)"),
    "weight_bytes": re.compile(r"Total Weights Memory: (\d+)"),
    "scratch_bytes": re.compile(r"Max Scratch Memory: (\d+)"),
}
_WORKSPACE = re.compile(r"workspace|scratch size|more tactics|Tactic Device request", re.IGNORECASE)
_building = threading.Lock()


@dataclass(frozen=True)
class CompiledEngine:
    """The engine's bytes and what the builder told about it.

    `tf32`: whether FP32 products may be computed in TF32, and in `notes` why, if nobody asked for it;
    `advice` is about a tight workspace.
    """

    data: bytes
    inputs: tuple[CompiledTensor, ...]
    outputs: tuple[CompiledTensor, ...]
    compute_capabilities: tuple[str, ...]
    tf32: bool
    layers: tuple[Layer, ...]
    memory: Mapping[str, int]
    advice: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float


def compile_network(
    path: Path, options: CompilerOptions, progress: ProgressCallback | None = None
) -> CompiledEngine:
    """Build the engine of an ONNX file whose tensors already have the precision wanted.

    Ctrl-C ends the build at its next step. Raises EngineError, with the operator and node where one
    is the cause.
    """
    check_buildable(path, options)
    started = time.monotonic()
    with _building, recorded_messages() as messages:
        builder = trt.Builder(logger())
        network = parse_network(builder, path, messages)
        config = builder.create_builder_config()
        tensors = tensors_of(network, path, options.profiles)
        _add_profile(builder, config, tensors.inputs)
        only_tf32 = [] if options.tf32 else fp32_products(network)
        tf32 = options.tf32 or bool(only_tf32)
        _configure(config, options, tf32)
        with tf32_kernels(tf32):
            data = _run(builder, network, config, path, options, messages, progress)
        layers = layers_of_listing(messages.others) or _inspect(data)
    return CompiledEngine(
        data=data,
        inputs=tensors.inputs,
        outputs=tensors.outputs,
        compute_capabilities=_built_for(options),
        tf32=tf32,
        layers=layers,
        memory=_memory(messages.others),
        advice=tuple(dict.fromkeys(one_line(text) for text in messages.warnings if _WORKSPACE.search(text))),
        notes=_tf32_notes(only_tf32),
        seconds=time.monotonic() - started,
    )


def check_buildable(path: Path, options: CompilerOptions) -> None:
    """Refuse what this TensorRT, this machine or the file cannot do, before any work is done.

    Raises EngineError.
    """
    model = _load_network(path)
    _check_target(options)
    if options.sparse:
        _check_sparse(path, model)
    if options.dla_core is not None:
        _check_dla(options.dla_core)


def _load_network(path: Path) -> Any:
    try:
        from avperception.engines.precision.network_file import load_network
    except ImportError as error:
        raise EngineError(f"building an engine needs onnx ({error}): run `pip install onnx`") from error
    return load_network(path)


def _check_target(options: CompilerOptions) -> None:
    found = flavour()
    machine = current_machine()
    if options.targets == CURRENT:
        if machine.gpu is None:
            hint = (
                "give the GPU's compute capability with --target, such as sm86"
                if found.is_rtx
                else ("build on the machine that the engine is for")
            )
            raise EngineError(f"there is no GPU to build for ({machine.gpu_problem}): {hint}")
    elif not found.is_rtx:
        raise EngineError(
            f"--target: {found} builds for the GPU of its own machine only: leave --target away, "
            "or install TensorRT-RTX (`pip install avperception[tensorrt-rtx]`)"
        )
    elif unknown := [target for target in options.targets if target not in target_names()]:
        known = ", ".join(f"sm{target.replace('.', '')}" for target in target_names())
        raise EngineError(f"--target: {found} knows no {', '.join(unknown)}: it builds for current, {known}")


def _check_sparse(path: Path, model: Any) -> None:
    found = flavour()
    gpu = current_machine().gpu
    if found.is_rtx:
        raise EngineError(f"--sparse: {found} makes no use of 2:4 sparsity: leave it away")
    if gpu and float(gpu.compute_capability) < 8.0:
        raise EngineError(f"--sparse: {gpu.name} has no sparse tensor cores: leave it away")
    refuse_dense(path, model)


def _check_dla(core: int) -> None:
    cores = trt.Builder(logger()).num_DLA_cores
    if core >= cores:
        have = f"has {cores} (0 to {cores - 1})" if cores else "has none, only Jetson Xavier and Orin do"
        raise EngineError(f"--dla {core}: as {flavour()} sees it this machine {have}: leave --dla away")


def _add_profile(
    builder: trt.Builder, config: trt.IBuilderConfig, inputs: tuple[CompiledTensor, ...]
) -> None:
    """Tell the builder the shapes of inputs with open axes."""
    profile = builder.create_optimization_profile()
    chosen = {tensor.name: tensor.profile for tensor in inputs if tensor.profile}
    for name, shapes in chosen.items():
        dims = (trt.Dims(list(shape)) for shape in (shapes.minimum, shapes.optimum, shapes.maximum))
        profile.set_shape(name, *dims)
    if chosen:
        config.add_optimization_profile(profile)


def _configure(config: trt.IBuilderConfig, options: CompilerOptions, tf32: bool) -> None:
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    config.builder_optimization_level = options.optimization_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not tf32:
        config.clear_flag(trt.BuilderFlag.TF32)  # it is set by default
    require_given_memory(config)
    if options.sparse:
        config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
    if options.dla_core is not None:
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = options.dla_core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    if options.targets != CURRENT:
        set_targets(config, options.targets)


@dataclass
class _Outcome:
    data: bytes | None = None
    failure: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)


def _run(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    path: Path,
    options: CompilerOptions,
    messages: Messages,
    progress: ProgressCallback | None,
) -> bytes:
    """Build in a thread of its own, so that this one is free to hear Ctrl-C."""
    state = BuildProgress(progress)
    config.progress_monitor = make_monitor(state)
    cache = TimingCache.of_this_machine()
    if cache:
        cache.attach(config)
    outcome = _Outcome()

    def work() -> None:
        try:
            serialized: Any = builder.build_serialized_network(network, config)
            outcome.data = None if serialized is None else bytes(serialized)
        except BaseException as error:
            outcome.failure = error
        finally:
            outcome.done.set()

    thread = threading.Thread(target=work, name="engine-build")
    thread.start()
    try:
        while not outcome.done.wait(0.1):
            state.report()
    finally:
        state.cancel()
        thread.join()
    if outcome.failure:
        raise EngineError(f"{path}: the build failed: {outcome.failure}") from outcome.failure
    if outcome.data is None:
        raise EngineError(_build_error(path, options, messages))
    if cache:
        cache.keep(config)
    state.finish()
    return outcome.data


def _build_error(path: Path, options: CompilerOptions, messages: Messages) -> str:
    reason = messages.reason
    if _WORKSPACE.search(reason):
        return (
            f"{path}: a workspace of {options.workspace_mib} MiB is too small, the builder says: {reason}: "
            f"run it again with `--workspace {max(4 * options.workspace_mib, 256)}`"
        )
    if "FP32 GEMM is not supported" in reason:
        return f"{path}: {reason}: build it with `--precision fp16`, or leave that target away"
    return f"{path}: {flavour()} cannot build it: {reason}"


def _inspect(data: bytes) -> tuple[Layer, ...]:
    """The layers as the engine itself tells them; this needs the GPU."""
    runtime = trt.Runtime(logger())
    engine: Any = runtime.deserialize_cuda_engine(data)
    if engine is None:
        return ()
    inspector = engine.create_engine_inspector()
    return layers_of_inspector(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def _tf32_notes(products: list[str]) -> tuple[str, ...]:
    if not products:
        return ()
    return (
        f"{flavour()} has no FP32 kernel for matrix products, such as `{products[0]}` here: FP32 is computed "
        "in TF32, with factors of 10 bits",
    )


def _built_for(options: CompilerOptions) -> tuple[str, ...]:
    gpu = current_machine().gpu
    if options.targets == CURRENT:
        return (gpu.compute_capability,) if gpu else ()
    return options.targets


def _memory(messages: list[str]) -> dict[str, int]:
    found = {}
    for key, pattern in _MEMORY.items():
        sizes = [int(match[1]) for text in messages if (match := pattern.search(text))]
        if sizes:
            found[key] = max(sizes)
    return found
