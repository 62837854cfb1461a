"""Average poolings of a few channels as convolutions."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, helper

from avperception.engines.precision.rewriting.weights import Weights, attribute, replace_node

MOST_CHANNELS = 7
"""TensorRT's poolings fill up what is less than 8 channels, and are slower at that than a convolution."""


def rewrite_poolings(model: ModelProto) -> int:
    """Rewrite, in place, average poolings of less than 8 channels; gives their number.

    A Pad with zeros in front goes into the convolution.
    """
    weights = Weights(model)
    channels = channel_counts(model)
    pads = {node.output[0]: node for node in model.graph.node if node.op_type == "Pad"}
    count = 0
    for node in [node for node in model.graph.node if node.op_type == "AveragePool"]:
        number = channels.get(node.input[0], 0)
        if 1 < number <= MOST_CHANNELS and _counts_all_pixels(node):
            replace_node(model, node, [_rewritten(node, number, weights, pads.get(node.input[0]))])
            count += 1
    return count


def channel_counts(model: ModelProto) -> dict[str, int]:
    """The size of the second axis of every tensor that has one of a known size."""
    found = {}
    for tensor in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        axes = tensor.type.tensor_type.shape.dim
        if len(axes) > 1 and axes[1].dim_value > 0:
            found[tensor.name] = axes[1].dim_value
    return found


def _counts_all_pixels(node: NodeProto) -> bool:
    """Whether each result is a sum over the whole kernel, zeros beyond the edge included."""
    padded = any(attribute(node, "pads", ()))
    return (
        len(attribute(node, "kernel_shape", ())) == 2
        and attribute(node, "auto_pad", b"NOTSET") == b"NOTSET"
        and not attribute(node, "ceil_mode", 0)
        and (not padded or bool(attribute(node, "count_include_pad", 0)))
    )


def _rewritten(node: NodeProto, channels: int, weights: Weights, pad: NodeProto | None) -> NodeProto:
    kernel = list(attribute(node, "kernel_shape"))
    mean = np.zeros((channels, channels, *kernel), np.float32)
    mean[range(channels), range(channels)] = 1 / np.prod(kernel)
    source, edges = node.input[0], list(attribute(node, "pads", [0, 0, 0, 0]))
    if pad is not None and (wider := zero_edges(pad, weights)):
        source, edges = pad.input[0], [own + further for own, further in zip(edges, wider, strict=True)]
    names = [source, weights.add(f"{node.name}_weight", mean)]
    strides, dilations = (list(attribute(node, name, [1, 1])) for name in ("strides", "dilations"))
    return helper.make_node(
        "Conv", names, [node.output[0]], node.name,
        kernel_shape=kernel, strides=strides, dilations=dilations, pads=edges,
    )  # fmt: skip


def zero_edges(pad: NodeProto, weights: Weights) -> list[int] | None:
    """What a Pad adds to top, left, bottom and right, if that is all it does and it adds zeros."""
    value = pad.input[2] if len(pad.input) > 2 else ""
    is_zero = not value or (value in weights and not weights[value].any())
    is_plain = attribute(pad, "mode", b"constant") == b"constant" and len(pad.input) in (2, 3)
    if not (is_zero and is_plain and pad.input[1] in weights):
        return None
    begin, end = weights[pad.input[1]].reshape(2, -1)
    if len(begin) != 4 or any(begin[:2]) or any(end[:2]) or min(*begin, *end) < 0:
        return None
    return [int(size) for size in (*begin[2:], *end[2:])]
