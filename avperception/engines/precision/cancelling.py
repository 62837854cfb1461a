"""Convolutions whose products cancel so far that an input in FP16 is too coarse for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, shape_inference

from avperception.engines.precision.probing import FP16_ROUNDING, relative_differences, without_bias
from avperception.engines.precision.request import LayerException

TOO_FAR = 2.0
"""A result that is off by so many times FP16's own rounding, when the input alone is rounded, is too coarse.

Most convolutions are hurt no more than each of their products: 0.1 to 1.9 times in YOLOX-nano, but for two at
2.3 and 3.
"""

_ONE_BY_ONE = frozenset(
    {"Add", "Clip", "Div", "Elu", "Exp", "HardSigmoid", "HardSwish", "LeakyRelu", "Mul", "PRelu", "Relu"}
    | {"Sigmoid", "Softplus", "Sub", "Tanh"}
)
"""Operators that compute each value of its own: between two convolutions their results are FP32 as well."""

_PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def cancelling_islands(
    model: ModelProto, input_name: str, inputs: Sequence[NDArray[Any]]
) -> tuple[LayerException, ...]:
    """Nodes that must be FP32 for the products of some convolutions to cancel as they should, in order.

    Those are the convolutions whose result is off by more than TOO_FAR times FP16_ROUNDING if only their
    input is rounded to FP16, measured on the `inputs`, norm over norm; and what makes that input, back to
    the convolutions before, whose result would be rounded else.
    """
    graph = shape_inference.infer_shapes(model).graph
    types = {t.name: t.type.tensor_type.elem_type for t in (*graph.input, *graph.value_info, *graph.output)}
    differences = {
        node.name: _difference(node)
        for node in graph.node
        if node.op_type == "Conv" and node.name
        # What is FP16 already has nothing to lose.
        if types.get(node.input[0]) == types.get(node.output[0]) == TensorProto.FLOAT
    }
    off = relative_differences(model, differences, (), input_name, inputs)
    producers = {name: node for node in model.graph.node for name in node.output}
    reasons: dict[str, str] = {}
    for node in model.graph.node:
        times = off.get(node.name, 0.0) / FP16_ROUNDING
        if times > TOO_FAR:
            for name in _makers(node.input[0], producers):
                reasons.setdefault(name, f"`{node.name}`, whose products cancel, needs its result exactly")
            reasons[node.name] = (
                f"its products cancel: with an input in FP16 it is off by {times:.1f} times FP16's rounding"
            )
    return tuple(
        LayerException(node.name, "fp32", reasons[node.name])
        for node in model.graph.node
        if node.name in reasons
    )


def _difference(node: NodeProto) -> list[NodeProto]:
    """What the rounding of a convolution's input to FP16 adds to its result, which is linear in it."""
    half, rounded, lost = (f"{node.name}_input_{what}" for what in ("half", "rounded", "lost"))
    convolved = without_bias(node, f"{node.name}_lost")
    convolved.input[0] = lost
    return [
        helper.make_node("Cast", [node.input[0]], [half], half, to=TensorProto.FLOAT16),
        helper.make_node("Cast", [half], [rounded], rounded, to=TensorProto.FLOAT),
        helper.make_node("Sub", [node.input[0], rounded], [lost], lost),
        convolved,
    ]


def _makers(tensor: str, producers: Mapping[str, NodeProto]) -> list[str]:
    """Names of the nodes that make a tensor value by value, and of the convolutions in front of them."""
    found: list[str] = []
    waiting = [tensor]
    while waiting:
        node = producers.get(waiting.pop())
        if node is None or node.name in found or node.op_type not in _ONE_BY_ONE | _PRODUCTS:
            continue
        found.append(node.name)
        if node.op_type in _ONE_BY_ONE:
            waiting += node.input
    return found
