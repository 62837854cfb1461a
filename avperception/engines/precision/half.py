"""FP16: which nodes cannot be in it, and the conversion of all others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper, shape_inference

from avperception.engines.precision.network_file import constants_to_weights, sort_nodes
from avperception.engines.precision.request import LayerException

FP16_MAX = 65504.0
FP16_SMALLEST_NORMAL = 2.0**-14
FP32_SMALLEST_NORMAL = 2.0**-126
"""What lies below is zero in all but name: weights that training has given up, which may go to zero."""
SAFETY_FACTOR = 4.0
"""An activation must keep this factor below FP16's largest value: no set of images holds the extreme."""

_FIXED_FLOAT_INPUTS = {"Resize": (1, 2)}
"""Inputs that stay float32 by the operator's definition, or have no meaning to the result."""


@dataclass(frozen=True)
class Islands:
    """Nodes that have to stay FP32 because values overflow, and those that may have to as values vanish."""

    overflow: tuple[LayerException, ...]
    underflow: tuple[LayerException, ...]


def find_islands(model: ModelProto, largest: Mapping[str, float]) -> Islands:
    """Nodes that FP16 is too narrow for, given the `largest` absolute value of each tensor as measured.

    Overflow: a tensor that the node reads or writes comes within SAFETY_FACTOR of FP16's largest value,
    or a weight of it is beyond that. Underflow: a tensor or weight has no value at all in FP16's normal
    range; whether that matters depends on what it is added to, so it has to be tried.
    """
    weights = {
        t.name: _largest_weight(t) for t in model.graph.initializer if t.data_type == TensorProto.FLOAT
    }
    overflow, underflow = [], []
    for node in model.graph.node:
        values = list(_values(node, largest, weights))
        if reason := next(filter(None, (_too_large(*value) for value in values)), None):
            overflow.append(LayerException(node.name, "fp32", reason))
        elif reason := next(filter(None, (_too_small(*value) for value in values)), None):
            underflow.append(LayerException(node.name, "fp32", reason))
    return Islands(tuple(overflow), tuple(underflow))


def convert_to_fp16(model: ModelProto, islands: Collection[str]) -> ModelProto:
    """A copy of the network in FP16 but for the nodes `islands`; its inputs and outputs stay as they are.

    Within an island values go from node to node in FP32, without a way through FP16.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    source = ModelProto()
    source.CopyFrom(model)
    constants_to_weights(source)
    _separate_weights(source, islands)
    half: ModelProto = convert_float_to_float16(
        source, keep_io_types=True, op_block_list=[], node_block_list=list(islands)
    )
    _join_islands(half)
    sort_nodes(half)
    # The converter leaves FP32 noted for tensors that it has made FP16, which ONNX then refuses.
    del half.graph.value_info[:]
    return shape_inference.infer_shapes(half)


def _values(
    node: NodeProto, largest: Mapping[str, float], weights: Mapping[str, float]
) -> Iterator[tuple[str, float, float]]:
    """What the node reads and writes: in words, its largest value, and the limit for it."""
    fixed = _FIXED_FLOAT_INPUTS.get(node.op_type, ())
    names = [name for index, name in enumerate(node.input) if index not in fixed] + list(node.output)
    for name in names:
        if name in weights:
            yield f"weight `{name}`", weights[name], FP16_MAX
        elif name in largest:
            yield f"tensor `{name}`", largest[name], FP16_MAX / SAFETY_FACTOR


def _too_large(what: str, value: float, limit: float) -> str | None:
    if value <= limit:
        return None
    margin = "" if value > FP16_MAX else f" (a factor of {SAFETY_FACTOR:g} is kept)"
    return f"{what} reaches {value:.3g}, FP16 ends at {FP16_MAX:g}{margin}"


def _too_small(what: str, value: float, limit: float) -> str | None:
    if not FP32_SMALLEST_NORMAL < value < FP16_SMALLEST_NORMAL:
        return None
    return f"{what} does not exceed {value:.3g}, FP16 is exact from {FP16_SMALLEST_NORMAL:.2g} on"


def _largest_weight(tensor: TensorProto) -> float:
    values = numpy_helper.to_array(tensor)
    finite = values[np.isfinite(values)]
    return float(np.abs(finite).max()) if finite.size else 0.0


def _separate_weights(model: ModelProto, islands: Collection[str]) -> None:
    """Give the islands weights of their own: a shared one would be converted for both."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    inside = [node for node in model.graph.node if node.name in islands]
    outside = {name for node in model.graph.node if node.name not in islands for name in node.input}
    for node in inside:
        for index, name in enumerate(node.input):
            if name in weights and name in outside:
                copy = model.graph.initializer.add()
                copy.CopyFrom(weights[name])
                copy.name = f"{name}_fp32_of_{node.name}"
                node.input[index] = copy.name


def _join_islands(model: ModelProto) -> None:
    """Take out, in place, pairs of casts FP32 to FP16 to FP32: a value too large for FP16 is lost there."""
    narrowing = {n.output[0]: n.input[0] for n in model.graph.node if _casts_to(n, TensorProto.FLOAT16)}
    outputs = {tensor.name for tensor in model.graph.output}
    direct: dict[str, str] = {}
    for node in model.graph.node:
        if _casts_to(node, TensorProto.FLOAT) and node.input[0] in narrowing:
            node.input[0] = narrowing[node.input[0]]
            if node.output[0] not in outputs:
                direct[node.output[0]] = node.input[0]
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name in direct:
                node.input[index] = direct[name]
    _remove_unread_casts(model, outputs)


def _remove_unread_casts(model: ModelProto, outputs: Collection[str]) -> None:
    while True:
        read = {name for node in model.graph.node for name in node.input} | set(outputs)
        unread = [n for n in model.graph.node if n.op_type == "Cast" and n.output[0] not in read]
        if not unread:
            return
        for node in unread:
            model.graph.node.remove(node)


def _casts_to(node: NodeProto, data_type: int) -> bool:
    return node.op_type == "Cast" and any(a.name == "to" and a.i == data_type for a in node.attribute)
