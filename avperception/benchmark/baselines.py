"""The same frames done in the usual ways."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avperception.benchmark.clock import host_ms, percentiles, process_ms
from avperception.benchmark.frame import make_pipeline
from avperception.benchmark.options import Subject
from avperception.engines.engine import Engine, ExecutionContext, TensorSpec
from avperception.engines.onnxruntime import CUDA_PROVIDER, OnnxRuntimeEngine
from avperception.models import locate
from avperception.pipeline.device import CpuDevice
from avperception.pipeline.network import Network

NOT_MEASURED = "not measured: "


def measure_sequential_tensorrt(subject: Subject) -> dict[str, Any]:
    """TensorRT one network after the other, with OpenCV before and NumPy and OpenCV after it on the CPU."""
    networks = {
        role: Network(network.card, StagedEngine(network.engine))
        for role, network in subject.networks.items()
    }
    return _measure(Subject(networks, subject.images, subject.options))


def measure_onnxruntime_cuda(subject: Subject) -> dict[str, Any] | str:
    """ONNX Runtime's CUDA provider with the same work on the CPU around it, and its engines alone."""
    import onnxruntime

    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        return NOT_MEASURED + f"this onnxruntime {onnxruntime.__version__} has no {CUDA_PROVIDER}"
    onnxruntime.preload_dlls()  # CUDA and cuDNN of Python packages are on no search path
    networks = {
        role: Network(network.card, OnnxRuntimeEngine(locate(network.card), provider=CUDA_PROVIDER))
        for role, network in subject.networks.items()
    }
    record = _measure(Subject(networks, subject.images, subject.options))
    contexts = {role: network.engine.create_context() for role, network in networks.items()}
    record["engines_alone_ms"] = {
        role: percentiles(host_ms(lambda number, context=context: context.execute(), subject.options))  # type: ignore[misc]
        for role, context in contexts.items()
    }
    return record


def measure_torch_eager(subject: Subject) -> dict[str, Any] | str:
    """PyTorch eager with torchvision's suppression, all on the GPU, on networks of like size in FP16."""
    try:
        import torch
        import torchvision
    except ImportError as error:
        return NOT_MEASURED + str(error)
    if not torch.cuda.is_available():
        return NOT_MEASURED + "this PyTorch sees no GPU"
    from avperception.benchmark.torch_eager import TorchFrame

    frame = TorchFrame(subject.options.width, subject.options.height)
    times = host_ms(lambda number: frame(subject.image(number).data), subject.options)
    return {
        "image_to_result_ms": percentiles(times),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "networks": TorchFrame.networks,
    }


def _measure(subject: Subject) -> dict[str, Any]:
    pipeline = make_pipeline(subject, CpuDevice())
    times, stages = process_ms(lambda number: pipeline.process(subject.image(number)), subject.options)
    return {"image_to_result_ms": percentiles(times), "stages_ms": stages}


class StagedEngine:
    """An engine on the GPU with its inputs and outputs on the host, copied before and after it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """The network's inputs by name."""
        return self._engine.inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """The network's outputs by name."""
        return self._engine.outputs

    @property
    def description(self) -> str:
        """The engine's own, and what is added."""
        return f"{self._engine.description}, copied to and from the host"

    def create_context(self) -> StagedContext:
        """Make a context with buffers on both sides."""
        return StagedContext(self._engine.create_context())


class StagedContext:
    """Buffers on the host in front of a context's own."""

    def __init__(self, context: ExecutionContext) -> None:
        self._context = context
        self._inputs = _like(context.inputs)
        self._outputs = _like(context.outputs)

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]:
        """The arrays to write before `execute`, on the host."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, NDArray[Any]]:
        """The arrays to read after `execute`, on the host."""
        return self._outputs

    def execute(self, stream: Any = None) -> None:
        """Copy the inputs, run, wait, copy the outputs."""
        for name, array in self._inputs.items():
            self._context.inputs[name].set(array)
        self._context.execute()
        for name, array in self._outputs.items():
            self._context.outputs[name].get(out=array)


def _like(arrays: Mapping[str, Any]) -> Mapping[str, NDArray[Any]]:
    return MappingProxyType({name: np.zeros(array.shape, array.dtype) for name, array in arrays.items()})
