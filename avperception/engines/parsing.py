"""An ONNX file read by TensorRT: what it cannot take, by operator and node, and its tensors' real shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avperception.engines.adapter import (
    Messages,
    flavour,
    logger,
    numpy_type,
    one_line,
    recorded_messages,
    shape_of,
    trt,
)
from avperception.engines.options import Profile
from avperception.errors import EngineError


@dataclass(frozen=True)
class CompiledTensor:
    """Name, NumPy type and shape of an input or output; an open axis is -1 and has a profile."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    profile: Profile | None = None


@dataclass(frozen=True)
class NetworkTensors:
    """The inputs and outputs of a network, with the shapes that TensorRT finds itself."""

    inputs: tuple[CompiledTensor, ...]
    outputs: tuple[CompiledTensor, ...]


def read_tensors(path: Path, profiles: Mapping[str, Profile]) -> NetworkTensors:
    """Parse an ONNX file alone, which takes some 20 ms; raises EngineError if no engine can come of it."""
    with recorded_messages() as messages:
        network = parse_network(trt.Builder(logger()), path, messages)
        return tensors_of(network, path, profiles)


def parse_network(builder: trt.Builder, path: Path, messages: Messages) -> trt.INetworkDefinition:
    """Read an ONNX file into a strongly typed network; raises EngineError with the operator and node."""
    strongly_typed: Any = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if strongly_typed is None else 1 << int(strongly_typed))
    parser = trt.OnnxParser(network, logger())
    parsed: bool = parser.parse_from_file(str(path))
    if not parsed:
        errors = [_parser_error(parser.get_error(index)) for index in range(parser.num_errors)]
        raise EngineError(
            f"{path}: {flavour()} cannot take {'; '.join(dict.fromkeys(errors)) or messages.reason}: "
            "export the network without it, or run it with backend onnxruntime"
        )
    return network


def tensors_of(
    network: trt.INetworkDefinition, path: Path, profiles: Mapping[str, Profile]
) -> NetworkTensors:
    """Describe the inputs and outputs; raises EngineError if an open axis has no profile that fits."""
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    inputs = tuple(_input(path, tensor, profiles) for tensor in tensors)
    names = [tensor.name for tensor in inputs]
    if unknown := [name for name in profiles if name not in names]:
        raise EngineError(f"{path}: --shape: there is no input `{unknown[0]}`: it has {', '.join(names)}")
    return NetworkTensors(inputs, _outputs(path, network, any(-1 in tensor.shape for tensor in inputs)))


def _parser_error(error: Any) -> str:
    """One parser error; the node and its operator come first."""
    reason = one_line(error.desc().split("[checkMacros")[0])
    code = str(error.code()).rpartition(".")[2].lower().replace("_", " ")
    # The condition of an assertion that says nothing but that it failed.
    described = code if reason in ("", "false") else f"{code}: {reason}"
    where = error.node_name() or (f"number {error.node()}" if error.node() >= 0 else "")
    if not where:
        return f"the file ({described})"
    stack = [name for name in error.local_function_stack() if name]
    inside = f" in {' > '.join(stack)}" if stack else ""
    return f"operator {error.node_operator() or '?'} of node `{where}`{inside} ({described})"


def _input(path: Path, tensor: trt.ITensor, profiles: Mapping[str, Profile]) -> CompiledTensor:
    shape = shape_of(tensor.shape)
    return CompiledTensor(
        tensor.name, _dtype(path, tensor), shape, _profile(path, tensor.name, shape, profiles)
    )


def _profile(
    path: Path, name: str, shape: tuple[int, ...], profiles: Mapping[str, Profile]
) -> Profile | None:
    shown = "x".join("?" if size < 0 else str(size) for size in shape)
    if -1 not in shape:
        if name in profiles:
            raise EngineError(f"{path}: --shape: input `{name}` is fixed to {shown}: leave --shape away")
        return None
    if name not in profiles:
        axes = ", ".join(str(axis) for axis, size in enumerate(shape) if size < 0)
        raise EngineError(
            f"{path}: input `{name}` is {shown}, open on axis {axes}: export it with a static shape, or give "
            f"its smallest, usual and largest shape, such as `--shape {name}={_example(shape)}`"
        )
    chosen = profiles[name]
    for given in (chosen.minimum, chosen.optimum, chosen.maximum):
        if len(given) != len(shape) or any(
            size not in (-1, wanted) for size, wanted in zip(shape, given, strict=True)
        ):
            raise EngineError(
                f"{path}: --shape: {'x'.join(map(str, given))} is not an input `{name}` of {shown}"
            )
    return chosen


_EXAMPLE_BATCHES, _EXAMPLE_SIDES = (1, 1, 4), (320, 640, 1280)


def _example(shape: tuple[int, ...]) -> str:
    """A profile to start from: the first axis is the batch, the last two are the image's sides."""
    shapes = []
    for batch, side in zip(_EXAMPLE_BATCHES, _EXAMPLE_SIDES, strict=True):
        wanted = [side if axis >= max(2, len(shape) - 2) else batch for axis in range(len(shape))]
        shapes.append("x".join(str(w if size < 0 else size) for size, w in zip(shape, wanted, strict=True)))
    return ",".join(shapes)


def _outputs(path: Path, network: trt.INetworkDefinition, open_inputs: bool) -> tuple[CompiledTensor, ...]:
    tensors = [network.get_output(index) for index in range(network.num_outputs)]
    for tensor in tensors:
        if -1 in shape_of(tensor.shape) and not open_inputs:
            raise EngineError(
                f"{path}: the shape of output `{tensor.name}` depends on the values of the image, so no "
                "buffer can be made for it: export the network up to the node before"
            )
    return tuple(
        CompiledTensor(tensor.name, _dtype(path, tensor), shape_of(tensor.shape)) for tensor in tensors
    )


def _dtype(path: Path, tensor: trt.ITensor) -> str:
    try:
        return numpy_type(tensor.dtype).name
    except TypeError as error:
        raise EngineError(
            f"{path}: `{tensor.name}` holds {tensor.dtype}, which NumPy does not know"
        ) from error
