"""Channels of convolutions filled up with zeros to a multiple that tensor cores load in one piece."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from avperception.engines.precision.rewriting.poolings import channel_counts, zero_edges
from avperception.engines.precision.rewriting.weights import Values, Weights, attribute

MULTIPLE = 8
"""FP16 values in 16 bytes, what a thread loads at once; otherwise slower kernels are taken."""

EMPTY = -1

_KEEP_ZERO_FINITE = {
    "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "HardSwish", "HardSigmoid", "Elu", "Mish", "Softplus",
    "Identity", "AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool",
}  # fmt: skip
"""Operators that look at each channel by itself."""

_BETWEEN_TWO = {"Add", "Sub", "Mul", "Max", "Min"}


@dataclass(frozen=True)
class Layout:
    """The channel of the original network that each channel holds, EMPTY for none.

    `sources` are the convolutions that were widened for it.
    """

    channels: tuple[int, ...]
    sources: frozenset[str]

    def spread(self, values: Values, axis: int, fill: float = 0.0) -> Values:
        """Move values of the original channels to where these are now."""
        order = np.asarray(self.channels)
        spread = np.moveaxis(np.take(values, np.maximum(order, 0), axis=axis), axis, 0)
        spread[order == EMPTY] = fill
        return np.moveaxis(spread, 0, axis)


def align_channels(model: ModelProto) -> int:
    """Fill up, in place, the output channels of convolutions to a multiple of 8; gives their number.

    Only where all that reads them can be told to ignore the new ones, which cost no node then.
    """
    weights, counts = Weights(model), channel_counts(model)
    excluded: set[str] = set()
    while True:
        layouts, stuck = _layouts(model, weights, counts, excluded)
        if not stuck:
            break
        excluded |= stuck
    wider = 0
    for node in model.graph.node:
        wider += _rewrite(node, weights, layouts)
    return wider


def _layouts(
    model: ModelProto, weights: Weights, counts: dict[str, int], excluded: Collection[str]
) -> tuple[dict[str, Layout], set[str]]:
    """The layout of every tensor with empty channels, and the convolutions that cannot be widened."""
    layouts: dict[str, Layout] = {}
    stuck: set[str] = set()
    for node in model.graph.node:
        given = [layouts[name] for name in node.input if name in layouts]
        if node.op_type == "Conv" and _reads_any_layout(node, weights):
            if node.name not in excluded and (wider := _widened(node, weights)):
                layouts[node.output[0]] = wider
        elif given:
            layout = _passed_on(node, weights, counts, layouts)
            if layout is not None:
                layouts[node.output[0]] = layout
            elif not _reads_any_layout(node, weights):
                stuck.update(*(layout.sources for layout in given))
    for tensor in model.graph.output:
        if tensor.name in layouts:
            stuck |= layouts[tensor.name].sources
    return layouts, stuck


def _reads_any_layout(node: NodeProto, weights: Weights) -> bool:
    """Whether a node sums over its input's channels with weights that are known."""
    return (
        node.op_type in ("Conv", "ConvTranspose")
        and attribute(node, "group", 1) == 1
        and all(name in weights for name in node.input[1:] if name)
    )


def _widened(node: NodeProto, weights: Weights) -> Layout | None:
    channels = weights[node.input[1]].shape[0]
    missing = -channels % MULTIPLE
    # One channel is a map that others are multiplied with, whatever their number.
    if not missing or channels == 1:
        return None
    return Layout((*range(channels), *[EMPTY] * missing), frozenset([node.name]))


def _passed_on(
    node: NodeProto, weights: Weights, counts: dict[str, int], layouts: dict[str, Layout]
) -> Layout | None:
    """The layout of what a node makes of its inputs, None if it cannot do with the empty channels."""
    first = layouts.get(node.input[0])
    rest = list(node.input[1:])
    if node.op_type == "Concat":
        return _concatenated(node, counts, layouts) if attribute(node, "axis") == 1 else None
    if node.op_type in _BETWEEN_TWO and len(node.input) == 2:
        return _joined(node, weights, counts, layouts)
    if first is None or any(name in layouts for name in rest):
        return None
    if node.op_type in _KEEP_ZERO_FINITE:
        return first if len(node.output) == 1 else None
    if node.op_type == "BatchNormalization":
        return first if all(name in weights for name in rest) and len(node.output) == 1 else None
    if node.op_type == "PRelu":
        return first if _is_by_channel(rest[0], node.input[0], weights, counts) else None
    if node.op_type == "Pad":
        return first if zero_edges(node, weights) else None
    return first if node.op_type == "Resize" and _scales_pixels_only(node, weights) else None


def _scales_pixels_only(node: NodeProto, weights: Weights) -> bool:
    """Whether a Resize is given by factors, and that of the channels is 1."""
    factors = node.input[2] if len(node.input) == 3 else ""
    if factors not in weights or attribute(node, "axes") is not None:
        return False
    return weights[factors].size == 4 and weights[factors][1] == 1


def _concatenated(node: NodeProto, counts: dict[str, int], layouts: dict[str, Layout]) -> Layout | None:
    channels: list[int] = []
    sources: set[str] = set()
    base = 0
    for name in node.input:
        if name not in counts:
            return None
        layout = layouts.get(name)
        own = layout.channels if layout else tuple(range(counts[name]))
        channels.extend(EMPTY if channel == EMPTY else base + channel for channel in own)
        sources |= layout.sources if layout else set()
        base += counts[name]
    return Layout(tuple(channels), frozenset(sources))


def _joined(
    node: NodeProto, weights: Weights, counts: dict[str, int], layouts: dict[str, Layout]
) -> Layout | None:
    one, other = (layouts.get(name) for name in node.input)
    if one and other:
        return Layout(one.channels, one.sources | other.sources) if one.channels == other.channels else None
    tensor, constant = node.input if one else reversed(node.input)
    return (one or other) if _is_by_channel(constant, tensor, weights, counts) else None


def _is_by_channel(constant: str, tensor: str, weights: Weights, counts: dict[str, int]) -> bool:
    """Whether a weight is one value, or one for each channel of a tensor of four axes."""
    if constant not in weights:
        return False
    shape = weights[constant].shape
    by_channel = (counts.get(tensor), 1, 1)
    return weights[constant].size == 1 or shape in (by_channel, (1, *by_channel))


def _rewrite(node: NodeProto, weights: Weights, layouts: dict[str, Layout]) -> bool:
    """Give a node weights for the channels it has now; says whether it is a widened convolution."""
    first = layouts.get(node.input[0]) if node.input else None
    if _reads_any_layout(node, weights):
        return _rewrite_convolution(node, weights, first, layouts.get(node.output[0]))
    if node.op_type == "BatchNormalization" and first:
        for place, fill in ((1, 0.0), (2, 0.0), (3, 0.0), (4, 1.0)):
            _set(node, place, weights, first.spread(weights[node.input[place]], 0, fill))
    elif node.op_type == "PRelu" or node.op_type in _BETWEEN_TWO:
        for place, name in enumerate(node.input):
            layout = layouts.get(node.output[0])
            if layout and name in weights and weights[name].size > 1:
                _set(node, place, weights, layout.spread(weights[name], weights[name].ndim - 3))
    return False


def _rewrite_convolution(
    node: NodeProto, weights: Weights, reads: Layout | None, writes: Layout | None
) -> bool:
    kernel = weights[node.input[1]]
    if reads:
        kernel = reads.spread(kernel, 1 if node.op_type == "Conv" else 0)
    is_widened = node.op_type == "Conv" and writes is not None
    if is_widened and writes:
        kernel = writes.spread(kernel, 0)
        if len(node.input) > 2 and node.input[2]:
            _set(node, 2, weights, writes.spread(weights[node.input[2]], 0))
    if reads or is_widened:
        _set(node, 1, weights, kernel)
    return is_widened


def _set(node: NodeProto, place: int, weights: Weights, values: NDArray[np.float32]) -> None:
    node.input[place] = weights.add(f"{node.name}_aligned_{place}", values)
