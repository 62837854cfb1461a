"""Transposed convolutions whose kernel is their stride, as a convolution of 1x1 and a shuffle."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, helper

from avperception.engines.precision.rewriting.weights import Weights, attribute, replace_node

SHUFFLE_OPSET = 11
"""From this version of the operators on DepthToSpace can read its channels in the order `CRD`."""


def rewrite_deconvolutions(model: ModelProto) -> int:
    """Rewrite, in place, those that do not overlap; gives their number.

    Each output pixel is then one product of the channels below it with one of the kernel's pixels
    (Shi et al., "Is the deconvolution layer the same as a convolutional layer?", 2016). TensorRT runs a
    transposed convolution as the gradient of one, slower, and lets no other layer run beside it.
    """
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    if opset < SHUFFLE_OPSET:
        return 0
    weights = Weights(model)
    found = [node for node in model.graph.node if _is_rewritable(node, weights)]
    for node in found:
        replace_node(model, node, _rewritten(node, weights))
    return len(found)


def _is_rewritable(node: NodeProto, weights: Weights) -> bool:
    if node.op_type != "ConvTranspose" or any(name and name not in weights for name in node.input[1:]):
        return False
    kernel = list(weights[node.input[1]].shape[2:])
    return (
        len(kernel) == 2
        and kernel[0] == kernel[1] > 1
        and list(attribute(node, "strides", [1, 1])) == kernel
        and list(attribute(node, "dilations", [1, 1])) == [1, 1]
        and attribute(node, "group", 1) == 1
        and not any(attribute(node, "pads", ()))
        and not any(attribute(node, "output_padding", ()))
        and attribute(node, "auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")
        and attribute(node, "output_shape") is None
    )


def _rewritten(node: NodeProto, weights: Weights) -> list[NodeProto]:
    kernel = weights[node.input[1]]
    inputs, outputs, block = kernel.shape[:3]
    # (in, out, rows, columns) to (out x rows x columns, in): the order in which CRD takes its channels.
    flat = kernel.transpose(1, 2, 3, 0).reshape(outputs * block * block, inputs, 1, 1)
    names = [node.input[0], weights.add(f"{node.name}_weight_by_pixel", flat)]
    if len(node.input) > 2 and node.input[2]:
        bias = np.repeat(weights[node.input[2]], block * block)
        names.append(weights.add(f"{node.name}_bias_by_pixel", bias))
    pixels = f"{node.name}_pixels"
    return [
        helper.make_node("Conv", names, [pixels], node.name, kernel_shape=[1, 1]),
        helper.make_node(
            "DepthToSpace", [pixels], [node.output[0]], f"{node.name}_shuffle", blocksize=block, mode="CRD"
        ),
    ]
