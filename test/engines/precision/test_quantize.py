"""Q/DQ pairs taken out one by one leave the network that the quantizer writes without them."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from avperception.engines.precision.network_file import QDQ_OPSET, load_network, raise_opset
from avperception.engines.precision.quantize import quantizable_nodes, quantize, without_qdq
from avperception.engines.precision.ranges import activation_ranges

PAIRS = ("QuantizeLinear", "DequantizeLinear")


def computed(model: ModelProto) -> dict[str, object]:
    """What each node but Q and DQ reads, with the scales, zero points and weights on the way, by node."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}

    def source(name: str) -> object:
        if name in weights:
            return weights[name].dtype.str, weights[name].shape, weights[name].tobytes()
        maker = makers.get(name)
        if maker is not None and maker.op_type in PAIRS:
            return maker.op_type, *(source(given) for given in maker.input)
        return name

    return {
        node.name: (node.op_type, [source(name) for name in node.input], list(node.output))
        for node in model.graph.node
        if node.op_type not in PAIRS
    }


@pytest.mark.parametrize("name", ["twinlitenet", "yolox"])
def test_taking_pairs_out_gives_what_the_quantizer_gives(name: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(name)
    model = raise_opset(path, load_network(path), QDQ_OPSET)
    nodes = [node.name for node in quantizable_nodes(model)]
    read = [node.input[0] for node in quantizable_nodes(model)]
    shape = [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    image = np.random.default_rng(0).random(shape, dtype=np.float32)
    ranges = activation_ranges(model, "max", read, "images", [image], lambda done: None)
    full = quantize(model, ranges, ())
    for count in (0, 1, len(nodes) // 2, len(nodes)):
        excluded = set(random.Random(count).sample(nodes, count))
        expected = computed(quantize(model, ranges, excluded))
        assert computed(without_qdq(full, model, excluded)) == expected
    assert not any(node.op_type in PAIRS for node in without_qdq(full, model, nodes).graph.node)
