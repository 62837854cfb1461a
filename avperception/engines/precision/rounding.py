"""An FP16 network as one that computes in FP32 and rounds to FP16 where tensors lie: what a GPU does."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
    shape_inference,
)

HALF = TensorProto.FLOAT16

_MOVING = frozenset(
    {"Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad", "ReduceMax"}
    | {"Relu", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
)
"""Operators whose results are values that they read: there is nothing to round."""


def with_rounding(model: ModelProto) -> ModelProto:
    """The same network for ONNX Runtime on the host, or the model itself if none of its weights is FP16.

    ONNX Runtime has no FP16 arithmetic on most processors: it computes in FP32, leaves the way through FP16
    between two nodes out, and so shows a part only of what FP16 costs: for YOLOX-nano on photographs 1.8e-2
    instead of 2.5e-2, where a GPU was at 2.1e-2. Tensor cores add up in FP32 as well, but results are FP16.
    QuantizeLinear is fed in FP32 by this, too: ONNX Runtime 1.23 cuts FP16 values off where the operator's
    definition rounds them. Networks with subgraphs are left as they are.
    """
    graph = model.graph
    has_subgraphs = any(a.type == AttributeProto.GRAPH for node in graph.node for a in node.attribute)
    if has_subgraphs or not any(tensor.data_type == TensorProto.FLOAT16 for tensor in graph.initializer):
        return model
    types = _element_types(shape_inference.infer_shapes(model))
    rounded = ModelProto()
    rounded.CopyFrom(model)
    graph = rounded.graph
    for tensor in graph.initializer:
        _widen(tensor)
    _take_weights_from_inputs(graph)
    ends = {end.name: f"{end.name}_fp32" for end in (*graph.input, *graph.output) if types[end.name] == HALF}
    begin = [_cast(end.name, ends[end.name], TensorProto.FLOAT) for end in graph.input if end.name in ends]
    finish = [_cast(ends[end.name], end.name, HALF) for end in graph.output if end.name in ends]
    nodes = [new for node in graph.node for new in _rounding(node, types)]
    for node in nodes:
        node.input[:] = [ends.get(name, name) for name in node.input]
        node.output[:] = [ends.get(name, name) for name in node.output]
    del graph.node[:], graph.value_info[:]
    graph.node.extend((*begin, *nodes, *finish))
    return rounded


def _rounding(node: NodeProto, types: Mapping[str, int]) -> list[NodeProto]:
    """A node in FP32 and what rounds its results that were FP16."""
    wide = NodeProto()
    wide.CopyFrom(node)
    for attribute in wide.attribute:
        if attribute.type == AttributeProto.TENSOR:
            _widen(attribute.t)
    nodes = [wide]
    for place, name in enumerate(node.output):
        if types.get(name) != HALF or node.op_type in _MOVING:
            continue
        exact, half = f"{name}_exact", f"{name}_half"
        wide.output[place] = half if node.op_type == "Cast" else exact
        if node.op_type != "Cast":
            nodes.append(_cast(exact, half, HALF))
        nodes.append(_cast(half, name, TensorProto.FLOAT))
    return nodes


def _take_weights_from_inputs(graph: GraphProto) -> None:
    """Old files list their weights among the inputs, with the type that they had."""
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [tensor for tensor in graph.input if tensor.name not in weights]
    if len(inputs) < len(graph.input):
        copies = [ValueInfoProto.FromString(tensor.SerializeToString()) for tensor in inputs]
        del graph.input[:]
        graph.input.extend(copies)


def _cast(source: str, target: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], to=to)


def _widen(tensor: TensorProto) -> None:
    """Make an FP16 tensor FP32, in place."""
    if tensor.data_type == HALF:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _element_types(model: ModelProto) -> dict[str, int]:
    graph = model.graph
    tensors = (*graph.input, *graph.value_info, *graph.output)
    return {tensor.name: tensor.type.tensor_type.elem_type for tensor in tensors}
