"""Networks rewritten for tensor cores compute what they did; what would change the result stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from test_fp16 import to_fp16

from avperception.engines.precision import PrecisionRequest, prepare_onnx
from avperception.engines.precision.judge import run_network
from avperception.engines.precision.network_file import load_network
from avperception.engines.precision.rewriting import rewrite_for_tensor_cores
from avperception.models.card import ModelCard

SIZE = (12, 20)


class Builder:
    """Nodes and random weights of a small network; each method gives the name of its result."""

    def __init__(self, channels: int = 3, opset: int = 17) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self.channels = channels
        self._opset = opset
        self._rng = np.random.default_rng(3)

    def weight(self, *shape: int) -> str:
        return self.constant(self._rng.standard_normal(shape).astype(np.float32))

    def constant(self, values: Any) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def conv(self, source: str, inputs: int, outputs: int, kernel: int = 3, *, dilation: int = 1) -> str:
        pad = dilation * (kernel // 2)
        return self.node(
            "Conv", source, self.weight(outputs, inputs, kernel, kernel), self.weight(outputs),
            kernel_shape=[kernel] * 2, pads=[pad] * 4, dilations=[dilation] * 2,
        )  # fmt: skip

    def batch_norm(self, source: str, channels: int) -> str:
        variance = self.constant(self._rng.uniform(0.5, 2, channels).astype(np.float32))
        moved = (self.weight(channels) for _ in range(3))
        return self.node("BatchNormalization", source, *moved, variance)

    def model(self, *outputs: str) -> ModelProto:
        shape = (1, self.channels, *SIZE)
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self._opset)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def rewritten(model: ModelProto) -> ModelProto:
    """The network rewritten, after it was seen to be valid and to compute the same."""
    result, _ = rewrite_for_tensor_cores(model)
    onnx.checker.check_model(result, full_check=True)
    shape = [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    pixels = [np.random.default_rng(5).standard_normal(shape).astype(np.float32)]
    name = model.graph.input[0].name
    (before,), (after,) = (list(run_network(m, name, pixels)) for m in (model, result))
    assert list(before) == list(after)
    for output, values in before.items():
        # Sums are taken in another order: FP32's rounding, of sums of some hundred products at most.
        np.testing.assert_allclose(after[output], values, rtol=0, atol=2e-5 * np.abs(values).max())
    return result


def operators(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def widths(model: ModelProto) -> list[int]:
    """Output channels of the convolutions, in order."""
    shapes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    return [shapes[node.input[1]][0] for node in model.graph.node if node.op_type == "Conv"]


@pytest.mark.parametrize("block", [2, 3])
@pytest.mark.parametrize("with_bias", [True, False])
def test_a_deconvolution_without_overlap_becomes_a_convolution_and_a_shuffle(
    block: int, with_bias: bool
) -> None:
    net = Builder(channels=8)
    weights = [net.weight(8, 5, block, block), *([net.weight(5)] if with_bias else [])]
    model = net.model(net.node("ConvTranspose", "x", *weights, strides=[block] * 2))
    assert operators(rewritten(model)) == ["Conv", "DepthToSpace"]


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [1, 1]},
        {"strides": [2, 2], "pads": [1, 1, 0, 0]},
        {"strides": [2, 2], "output_padding": [1, 1]},
        {"strides": [2, 2], "group": 2},
        {"strides": [2, 2], "dilations": [2, 2]},
        {"strides": [2, 2], "output_shape": [23, 39]},
    ],
)
def test_other_deconvolutions_stay(attributes: dict[str, Any]) -> None:
    net = Builder(channels=8)
    model = net.model(net.node("ConvTranspose", "x", net.weight(8, 8, 2, 2), **attributes))
    assert operators(rewritten(model)) == ["ConvTranspose"]


def test_a_deconvolution_stays_where_there_is_no_shuffle_in_its_order() -> None:
    net = Builder(channels=8, opset=10)
    model = net.model(net.node("ConvTranspose", "x", net.weight(8, 8, 2, 2), strides=[2, 2]))
    assert operators(rewritten(model)) == ["ConvTranspose"]


def test_an_average_of_few_channels_becomes_a_convolution_with_the_padding_in_front_of_it() -> None:
    net = Builder()
    padded = net.node("Pad", "x", net.constant(np.array([0, 0, 1, 2, 0, 0, 1, 0])))
    pooled = net.node("AveragePool", padded, kernel_shape=[3, 3], strides=[2, 2])
    model = rewritten(net.model(net.conv(pooled, 3, 8)))
    assert operators(model) == ["Conv", "Conv"]


@pytest.mark.parametrize(
    ("padding", "further"),
    [
        ([0, 0, 1, 1, 0, 0, 1, 1], {"mode": "reflect"}),
        ([0, 1, 1, 1, 0, 0, 1, 1], {}),
        ([0, 0, -1, 0, 0, 0, 0, 0], {}),
    ],
)
def test_other_paddings_stay_in_front(padding: list[int], further: dict[str, Any]) -> None:
    net = Builder()
    padded = net.node("Pad", "x", net.constant(np.array(padding)), **further)
    model = rewritten(net.model(net.node("AveragePool", padded, kernel_shape=[3, 3])))
    assert operators(model) == ["Pad", "Conv"]


def test_padding_with_another_value_stays_in_front() -> None:
    net = Builder()
    edges, value = net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])), net.constant(np.float32(2))
    padded = net.node("Pad", "x", edges, value)
    model = rewritten(net.model(net.node("AveragePool", padded, kernel_shape=[2, 2])))
    assert operators(model) == ["Pad", "Conv"]


@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [1, 1, 1, 1]},  # a mean over fewer pixels at the edge
        {"ceil_mode": 1, "strides": [2, 2]},
        {"auto_pad": "SAME_UPPER"},
    ],
)
def test_an_average_over_a_varying_number_of_pixels_stays(attributes: dict[str, Any]) -> None:
    net = Builder()
    model = net.model(net.node("AveragePool", "x", kernel_shape=[3, 3], **attributes))
    assert operators(rewritten(model)) == ["AveragePool"]


def test_an_average_that_counts_the_zeros_beyond_the_edge_is_a_convolution() -> None:
    net = Builder()
    pooled = net.node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    assert operators(rewritten(net.model(pooled))) == ["Conv"]


def test_an_average_of_many_channels_stays() -> None:
    net = Builder(channels=8)
    assert operators(rewritten(net.model(net.node("AveragePool", "x", kernel_shape=[2, 2])))) == [
        "AveragePool"
    ]


@settings(deadline=None, max_examples=40)
@given(narrow=st.integers(2, 20), wide=st.integers(2, 20), end=st.integers(1, 9))
def test_channels_of_a_dilated_residual_block_are_filled_up(narrow: int, wide: int, end: int) -> None:
    """As in ESPNet: parallel dilated convolutions, sums, a concatenation, a residual, PReLU."""
    net = Builder()
    stem = net.conv("x", 3, narrow)
    near, far = net.conv(stem, narrow, wide), net.conv(stem, narrow, wide, dilation=2)
    both = net.node("Concat", near, net.node("Add", near, far), axis=1)
    normal = net.batch_norm(net.node("Add", both, both), 2 * wide)
    bent = net.node("PRelu", normal, net.weight(2 * wide, 1, 1))
    scaled = net.node("Mul", bent, net.weight(1, 2 * wide, 1, 1))
    pooled = net.node("MaxPool", net.node("Sigmoid", scaled), kernel_shape=[2, 2])
    model = rewritten(net.model(net.conv(pooled, 2 * wide, end)))
    found = widths(model)
    assert found[-1] == end, "an output keeps its shape"
    assert [width % 8 for width in found[:-1]] == [0, 0, 0]
    assert "Gather" not in operators(model) and "Slice" not in operators(model)


def test_channels_stay_where_somebody_needs_them_as_they_are() -> None:
    net = Builder()
    seen_whole = net.conv("x", 3, 5)
    flat = net.node("Reshape", seen_whole, net.constant(np.array([1, 5, -1])))
    attention = net.node("Sigmoid", net.conv("x", 3, 1))
    weighted = net.node("Mul", net.conv("x", 3, 6), attention)
    by_group = net.node("Conv", net.conv("x", 3, 10), net.weight(10, 1, 3, 3), group=10)
    of_pixels = net.node("Softmax", net.conv("x", 3, 7), axis=1)
    model = rewritten(net.model(flat, net.conv(weighted, 6, 2), by_group, of_pixels))
    assert sorted(widths(model)) == [1, 2, 5, 6, 7, 10, 10]


def test_channels_go_through_padding_and_enlarging() -> None:
    net = Builder()
    padded = net.node("Pad", net.conv("x", 3, 5), net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    factors = net.constant(np.array([1, 1, 2, 2], np.float32))
    larger = net.node("Resize", padded, "", factors, mode="nearest")
    model = rewritten(net.model(net.conv(larger, 5, 2)))
    assert widths(model) == [8, 2]


def test_a_wide_input_of_a_deconvolution_is_read_with_its_empty_channels() -> None:
    net = Builder()
    model = rewritten(
        net.model(net.node("ConvTranspose", net.conv("x", 3, 5), net.weight(5, 4, 3, 3), strides=[2, 2]))
    )
    assert operators(model) == ["Conv", "ConvTranspose"] and widths(model) == [8]


def test_a_weight_that_two_nodes_share_is_changed_for_one_only() -> None:
    net = Builder(channels=6)
    shared = net.weight(6, 6, 3, 3)
    first = net.node("Conv", "x", shared, pads=[1] * 4)
    model = rewritten(net.model(net.node("Conv", first, shared, pads=[1] * 4)))
    assert widths(model) == [8, 6]


def test_a_network_in_good_form_is_left_alone() -> None:
    net = Builder(channels=8)
    model = net.model(net.conv(net.conv("x", 8, 16), 16, 8))
    assert rewrite_for_tensor_cores(model) == (model, ())


def test_twinlitenet_computes_the_same_in_fewer_kinds_of_nodes(twinlitenet: Path) -> None:
    model = rewritten(load_network(twinlitenet))
    assert not {"ConvTranspose", "AveragePool", "Pad"} & set(operators(model))


def test_what_was_rewritten_stands_in_the_report(
    twinlitenet: Path, twinlitenet_card: ModelCard, tmp_path: Path
) -> None:
    report = to_fp16(twinlitenet, tmp_path / "half.onnx", twinlitenet_card, None)
    (note,) = [note for note in report.notes if note.startswith("for tensor cores")]
    assert "6 transposed convolutions" in note and "2 average poolings" in note


def test_the_form_stays_where_that_is_wanted(
    twinlitenet: Path, twinlitenet_card: ModelCard, tmp_path: Path
) -> None:
    request = PrecisionRequest("fp16", "max", None, (), None, twinlitenet_card, rewrite=False)
    report = prepare_onnx(twinlitenet, tmp_path / "half.onnx", request, lambda stage, done, total: None)
    assert not [note for note in report.notes if note.startswith("for tensor cores")]
    assert "ConvTranspose" in operators(onnx.load(str(tmp_path / "half.onnx")))
