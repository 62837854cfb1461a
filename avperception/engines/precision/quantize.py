"""INT8: QuantizeLinear and DequantizeLinear around the nodes that are worth it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

import onnx
from onnx import ModelProto, NodeProto, TensorProto

from avperception.errors import ConfigurationError

QUANTIZED_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Where INT8 saves time: what multiplies by weights. Everything else stays FP16 and is fused by TensorRT."""


def quantizable_nodes(model: ModelProto) -> list[NodeProto]:
    """Nodes that multiply by a float32 weight known beforehand, in the network's order."""
    weights = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT}
    return [
        node
        for node in model.graph.node
        if node.op_type in QUANTIZED_OPERATORS and len(node.input) > 1 and node.input[1] in weights
    ]


def matching_nodes(nodes: Sequence[NodeProto], patterns: Sequence[str]) -> dict[str, str]:
    """Names of the nodes that a regular expression matches, with that expression.

    It is matched from the beginning against the node's name, leading slashes left out, and against the
    names of its weights. Raises ConfigurationError for one that is no expression, or matches no node.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise ConfigurationError(f"keep_fp16 {pattern!r} is no regular expression: {error}") from error
        matches = [node.name for node in nodes if _matches(expression, node)]
        if not matches:
            examples = ", ".join(node.name for node in nodes[:3])
            raise ConfigurationError(
                f"keep_fp16 {pattern!r} matches no node that INT8 could be used for; "
                f"there are {len(nodes)}, such as {examples}"
            )
        for name in matches:
            found.setdefault(name, pattern)
    return found


def quantize(model: ModelProto, ranges: Any, excluded: Collection[str]) -> ModelProto:
    """A copy with Q/DQ pairs at the inputs and weights of all quantizable nodes that are not `excluded`.

    Activations are symmetric int8 per tensor, weights symmetric int8 per channel, biases stay float:
    what TensorRT fuses into INT8 convolutions. `ranges` are those of `activation_ranges`.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    source = ModelProto()
    source.CopyFrom(model)
    chosen = [node.name for node in quantizable_nodes(source) if node.name not in excluded]
    if not chosen:
        return source
    quantizer = QDQQuantizer(
        source,
        True,  # per channel
        False,  # the full 8 bits
        QuantType.QInt8,
        QuantType.QInt8,
        ranges,
        chosen,
        [],
        list(QUANTIZED_OPERATORS),
        {
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,  # TensorRT refuses INT32 biases
            "MatMulConstBOnly": True,
            # Between a convolution and its activation a Q/DQ pair would cost accuracy and the fusion.
            "OpTypesToExcludeOutputQuantization": list(QUANTIZED_OPERATORS),
        },
    )
    quantizer.quantize_model()
    quantized: ModelProto = quantizer.model.model
    return onnx.shape_inference.infer_shapes(quantized)


def without_qdq(quantized: ModelProto, model: ModelProto, excluded: Collection[str]) -> ModelProto:
    """A copy of a quantised `model` with the nodes `excluded` as they were: what `quantize` gives, sooner.

    A Q/DQ pair stays as long as one of the nodes that it was made for reads it; then all that read that
    tensor read it rounded, excluded or not, as ONNX Runtime's quantizer has it.
    """
    result = ModelProto()
    result.CopyFrom(quantized)
    originals = {node.name: node for node in model.graph.node}
    chosen = {node.name for node in quantizable_nodes(model) if node.name not in excluded}
    rounded = {node.output[0] for node in result.graph.node if node.op_type == "DequantizeLinear"}
    kept = {
        name for node in result.graph.node if node.name in chosen for name in node.input if name in rounded
    }
    for node in result.graph.node:
        for index, name in enumerate(node.input):
            if name in rounded - kept and node.name in originals:
                node.input[index] = originals[node.name].input[index]
    _keep_what_is_read(result, model)
    return onnx.shape_inference.infer_shapes(result)


def _keep_what_is_read(model: ModelProto, original: ModelProto) -> None:
    """Take out Q/DQ pairs and weights that nothing reads, and put the weights of `original` that are in."""
    read = {name for node in model.graph.node for name in node.input}
    read.update(tensor.name for tensor in model.graph.output)
    for operator in ("DequantizeLinear", "QuantizeLinear"):
        for node in [node for node in model.graph.node if node.op_type == operator]:
            if node.output[0] not in read:
                model.graph.node.remove(node)
        read = {name for node in model.graph.node for name in node.input}
        read.update(tensor.name for tensor in model.graph.output)
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in read]:
        model.graph.initializer.remove(tensor)
    present = {tensor.name for tensor in model.graph.initializer}
    model.graph.initializer.extend(
        tensor for tensor in original.graph.initializer if tensor.name in read and tensor.name not in present
    )


def _matches(expression: re.Pattern[str], node: NodeProto) -> bool:
    names = (node.name.lstrip("/"), node.name, *node.input[1:])
    return any(expression.match(name) for name in names)
