"""The one place that knows that TensorRT comes in two flavours, `tensorrt` and `tensorrt_rtx`.

Everything else uses `trt` of this module, which is whichever flavour is installed. It is loaded at the
first use, so that a machine without TensorRT imports the whole package. Types are those of TensorRT 10;
what only TensorRT-RTX has is reached through functions of this module.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from avperception.errors import EngineError, require_one_of

if TYPE_CHECKING:
    import tensorrt as trt  # type: ignore[import-not-found, import-untyped, unused-ignore]

__all__ = [
    "FLAVOURS",
    "FLAVOUR_VARIABLE",
    "HOW_TO_INSTALL",
    "Flavour",
    "Messages",
    "create_runtime_config",
    "flavour",
    "fp32_products",
    "logger",
    "numpy_type",
    "one_line",
    "probe",
    "recorded_messages",
    "require_given_memory",
    "scratch_bytes",
    "set_targets",
    "shape_of",
    "target_names",
    "tf32_kernels",
    "trt",
]

TENSORRT = "tensorrt"
TENSORRT_RTX = "tensorrt_rtx"
FLAVOURS = (TENSORRT, TENSORRT_RTX)
"""In the order in which they are looked for."""

FLAVOUR_VARIABLE = "AVPERCEPTION_TENSORRT"
"""Environment variable that picks one flavour where both are installed."""

HOW_TO_INSTALL = (
    "run `pip install avperception[tensorrt-rtx]`, on a Jetson install JetPack's python3-libnvinfer"
)

# The wheels of TensorRT-RTX hold the module under the second name, its Debian packages under the first.
_MODULES = {TENSORRT: ("tensorrt",), TENSORRT_RTX: ("tensorrt_rtx", "tensorrt_rtx_bindings")}

TF32_VARIABLE = "NVIDIA_TF32_OVERRIDE"
"""Environment variable of NVIDIA's libraries: 0 forbids kernels that compute in TF32."""

_logger = logging.getLogger(__name__)
_environment_lock = threading.RLock()


@dataclass(frozen=True)
class Flavour:
    """One installed TensorRT: its name out of FLAVOURS, its version, its Python module."""

    name: str
    version: str
    module: Any

    @property
    def is_rtx(self) -> bool:
        """Whether it is TensorRT-RTX, which builds without a GPU and compiles for the GPU at load time."""
        return self.name == TENSORRT_RTX

    def __str__(self) -> str:
        return f"{'TensorRT-RTX' if self.is_rtx else 'TensorRT'} {self.version}"


def flavour() -> Flavour:
    """Give the TensorRT in use; raises EngineError with the way to install one, ConfigurationError."""
    chosen = os.environ.get(FLAVOUR_VARIABLE, "")
    if chosen:
        require_one_of(FLAVOUR_VARIABLE, chosen, FLAVOURS)
    reasons = []
    for name in (chosen,) if chosen else FLAVOURS:
        found = probe(name)
        if isinstance(found, Flavour):
            return found
        reasons.append(f"{name}: {found}")
    raise EngineError(f"TensorRT is not there ({'; '.join(reasons)}): {HOW_TO_INSTALL}")


@lru_cache(maxsize=4)
def probe(name: str) -> Flavour | str:
    """Load one flavour by its name; where it cannot be loaded, give the reason in a few words."""
    reason = ""
    for module_name in _MODULES[name]:
        try:
            module = importlib.import_module(module_name)
        except (ImportError, OSError, RuntimeError) as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name == module_name
            reason = reason or ("" if missing else one_line(str(error)))
            continue
        # Type stubs alone leave a folder of this name, which Python takes for an empty package.
        if hasattr(module, "Builder"):
            return Flavour(name, str(module.__version__), module)
    return reason or "not installed"


class _Trt:
    """Stands for the module of the flavour in use, loaded at the first use."""

    def __getattr__(self, name: str) -> Any:
        return getattr(flavour().module, name)


if not TYPE_CHECKING:
    trt = _Trt()


@dataclass
class Messages:
    """What TensorRT said during one task, in its own order."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def reason(self) -> str:
        """The errors in one line; what the driver's absence adds to every one of them is left out."""
        texts = [text for text in map(one_line, self.errors) if "catchCudaError" not in text]
        texts = texts or [one_line(text) for text in self.errors]
        return "; ".join(dict.fromkeys(texts)) or "TensorRT gave no reason"


_recorders: list[Messages] = []
_recorders_lock = threading.Lock()


@contextmanager
def recorded_messages() -> Iterator[Messages]:
    """Collect what TensorRT says while the block runs."""
    messages = Messages()
    with _recorders_lock:
        _recorders.append(messages)
    try:
        yield messages
    finally:
        with _recorders_lock:
            # By identity: two recorders that heard the same are equal.
            _recorders[:] = [recorder for recorder in _recorders if recorder is not messages]


@lru_cache(maxsize=1)
def logger() -> trt.ILogger:
    """The logger of this process; TensorRT takes the first one and ignores all others."""

    class Logger(trt.ILogger):  # type: ignore[misc, unused-ignore] # without the stubs it is Any
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # pybind11 refuses an object whose own __init__ was not called

        def log(self, severity: trt.ILogger.Severity, message: str) -> None:
            _record(int(severity), message)

    return Logger()


def _record(severity: int, message: str) -> None:
    with _recorders_lock:
        recorders = tuple(_recorders)
    for messages in recorders:
        kind = messages.errors if severity <= 1 else messages.warnings if severity == 2 else messages.others
        kind.append(message)
    if severity <= 2:
        _logger.debug("TensorRT: %s", one_line(message))


def one_line(text: str) -> str:
    """A message of TensorRT without line breaks and without places in its source code."""
    text = re.sub(r"[ .]*\bIn \w+ at [\w/.-]+:\d+", "", " ".join(text.split()))
    text = re.sub(r"\[[\w.]+\.cpp::?\w*(?::?:?\d+)?\] ?|\[\w+\.cpp:\d+: (\w+)\] ", "", text)
    text = re.sub(r"\b\w+(?:::\w+)*: Error Code \d+: |^Error Code \d+: ", "", text)
    return text.replace("()", "").strip(" .;")


def set_targets(config: trt.IBuilderConfig, compute_capabilities: tuple[str, ...]) -> None:
    """Build for these GPUs, such as `8.6`, instead of the one in this machine; TensorRT-RTX alone can.

    Raises EngineError for a flavour or a version that cannot.
    """
    known = target_names()
    if unknown := [capability for capability in compute_capabilities if capability not in known]:
        choice = ", ".join(known) or "only its own GPU"
        raise EngineError(f"{flavour()} cannot build for compute capability {unknown[0]}: it knows {choice}")
    rtx: Any = config
    rtx.num_compute_capabilities = len(compute_capabilities)
    for position, capability in enumerate(compute_capabilities):
        rtx.set_compute_capability(known[capability], position)


def create_runtime_config(engine: trt.ICudaEngine) -> Any:
    """The settings of an engine's contexts, where a cache of compiled kernels goes; None but for RTX.

    Its contexts allocate nothing themselves: they take the `scratch_bytes` that they are given.
    """
    if not flavour().is_rtx:
        return None
    config: Any = engine.create_runtime_config()  # type: ignore[attr-defined, unused-ignore]
    config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    return config


def require_given_memory(config: trt.IBuilderConfig) -> None:
    """Build an engine that never allocates while it executes, as TensorRT's never do.

    One of TensorRT-RTX might otherwise, and cannot be captured into a CUDA graph then.
    """
    flag: Any = getattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION", None)
    if flavour().is_rtx and flag is not None:
        config.set_flag(flag)


@contextmanager
def tf32_kernels(allowed: bool) -> Iterator[None]:
    """Build an engine, or make its context, with or without kernels that cut FP32 factors to 10 bits.

    TensorRT-RTX takes no notice of BuilderFlag.TF32 when it compiles kernels, only of NVIDIA_TF32_OVERRIDE,
    which it reads each time. It must be the same at build time and whenever a context is made, else
    TensorRT-RTX refuses; so the user's own setting does not count here. TensorRT heeds the flag and both.
    """
    if not flavour().is_rtx:
        yield
        return
    with _environment_lock:
        before = os.environ.pop(TF32_VARIABLE, None)
        if not allowed:
            os.environ[TF32_VARIABLE] = "0"
        try:
            yield
        finally:
            os.environ.pop(TF32_VARIABLE, None)
            if before is not None:
                os.environ[TF32_VARIABLE] = before


def fp32_products(network: trt.INetworkDefinition) -> list[str]:
    """Names of the FP32 matrix products of a network, for which TensorRT-RTX has kernels in TF32 only.

    Convolutions, which are not among them, have FP32 kernels too.
    """
    if not flavour().is_rtx:
        return []
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    kinds = (trt.LayerType.MATRIX_MULTIPLY, trt.LayerType.EINSUM)
    return [
        layer.name
        for layer in layers
        if layer.type in kinds and layer.get_input(0).dtype == trt.DataType.FLOAT
    ]


def scratch_bytes(engine: trt.ICudaEngine) -> int:
    """The device memory that each context must be given; 0 where contexts allocate it themselves."""
    return int(engine.device_memory_size_v2) if flavour().is_rtx else 0


def shape_of(dims: trt.Dims) -> tuple[int, ...]:
    """TensorRT's dimensions as a tuple; -1 is an open axis."""
    return tuple(dims[axis] for axis in range(len(dims)))


def numpy_type(data_type: trt.DataType) -> np.dtype[Any]:
    """NumPy's name of an element type; raises TypeError for one that NumPy does not have."""
    module: Any = trt
    return np.dtype(module.nptype(data_type))


def target_names() -> dict[str, Any]:
    """Compute capabilities, such as `8.6`, that engines can be built for on any machine; none but for RTX."""
    members = getattr(flavour().module, "ComputeCapability", None)
    names = [name for name in dir(members) if re.fullmatch(r"SM\d+", name)] if members else []
    ordered = sorted(names, key=lambda name: int(name[2:]))
    return {f"{name[2:-1]}.{name[-1]}": getattr(members, name) for name in ordered}
