"""Convolutions whose weights FP16 is too coarse for, and their weights as sums of two FP16 values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from avperception.engines.precision.half import FP16_MAX, FP16_SMALLEST_NORMAL
from avperception.engines.precision.probing import FP16_ROUNDING, relative_differences, without_bias


def coarse_convolutions(model: ModelProto, input_name: str, inputs: Sequence[NDArray[Any]]) -> list[str]:
    """Names of convolutions whose result is off by more than FP16_ROUNDING if only their weights are FP16.

    A sum of many products is hurt no more than each of them, unless large products cancel each other.
    Measured on the `inputs`, norm of the difference over norm of the result. Weights out of FP16's range
    are not looked at: those nodes are islands or lost.
    """
    differences, left_out = {}, []
    for node, values in _convolutions(model):
        left_out.append(numpy_helper.from_array(values - _rounded(values), f"{node.name}_left_out"))
        difference = without_bias(node, f"{node.name}_difference")  # the bias takes no part
        difference.input[1] = left_out[-1].name
        differences[node.name] = [difference]
    off = relative_differences(model, differences, left_out, input_name, inputs)
    return [name for name, share in off.items() if share > FP16_ROUNDING]


def split_weights(model: ModelProto, names: Collection[str]) -> ModelProto:
    """A copy in which these convolutions read their input twice, with weights rounded to FP16 and the rest.

    It computes the same; in FP16 the weights of those convolutions have 21 bits instead of 10, and
    tensor cores still do all of it.
    """
    split = ModelProto()
    split.CopyFrom(model)
    weights = {node.name: values for node, values in _convolutions(model) if node.name in names}
    nodes = []
    for node in split.graph.node:
        if node.name in weights:
            values = weights[node.name]
            both = np.concatenate([_rounded(values), values - _rounded(values)], axis=1)
            twice = f"{node.name}_input_twice"
            nodes.append(helper.make_node("Concat", [node.input[0]] * 2, [twice], twice, axis=1))
            split.graph.initializer.append(numpy_helper.from_array(both, f"{node.name}_weight_in_two"))
            node.input[0], node.input[1] = twice, f"{node.name}_weight_in_two"
        copy = NodeProto()
        copy.CopyFrom(node)
        nodes.append(copy)
    del split.graph.node[:]
    split.graph.node.extend(nodes)
    _remove_unread_weights(split)
    return shape_inference.infer_shapes(split)


def _convolutions(model: ModelProto) -> Iterator[tuple[NodeProto, NDArray[np.float32]]]:
    """Convolutions over all input channels with constant weights within FP16's range, with the weights."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        tensor = weights.get(node.input[1]) if node.op_type == "Conv" else None
        if tensor is None or tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        if groups == 1 and FP16_SMALLEST_NORMAL <= np.abs(values).max(initial=0.0) <= FP16_MAX:
            yield node, values


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values.astype(np.float16).astype(np.float32)


def _remove_unread_weights(model: ModelProto) -> None:
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    if len(kept) < len(model.graph.initializer):
        copies = [TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
        del model.graph.initializer[:]
        model.graph.initializer.extend(copies)
