"""What rounding to FP16 does to each convolution's result by itself, measured in one run of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from avperception.engines.precision.judge import run_network

FP16_ROUNDING = 2.0**-11
"""By how much FP16 may round a value, as a share of it."""


def without_bias(node: NodeProto, name: str) -> NodeProto:
    """A copy of a convolution under another name, which is that of its result too."""
    copy = NodeProto()
    copy.CopyFrom(node)
    del copy.input[2:]
    copy.name = copy.output[0] = name
    return copy


def relative_differences(
    model: ModelProto,
    differences: Mapping[str, Sequence[NodeProto]],
    weights: Sequence[TensorProto],
    input_name: str,
    inputs: Sequence[NDArray[Any]],
) -> dict[str, float]:
    """Norm of a difference over norm of the node's own result, over all `inputs`, for each node by name.

    `differences` are the nodes that compute the difference, the result last; they may use further `weights`.
    """
    if not differences:
        return {}
    probe = ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.initializer.extend(weights)
    results = {node.name: node.output[0] for node in model.graph.node}
    for name, nodes in differences.items():
        probe.graph.node.extend(nodes)
        for tensor in (nodes[-1].output[0], results[name]):
            norm = f"{name}_norm_of_{tensor}"
            probe.graph.node.append(helper.make_node("ReduceL2", [tensor], [norm], norm, keepdims=0))
            probe.graph.output.append(helper.make_tensor_value_info(norm, TensorProto.FLOAT, []))
    runs = [list(outputs.values()) for outputs in run_network(probe, input_name, inputs)]
    norms = np.sqrt(np.square(np.asarray(runs, dtype=np.float64)).sum(axis=0)).reshape(-1, 2)
    found = np.divide(norms[:, 0], norms[:, 1], out=np.zeros(len(norms)), where=norms[:, 1] > 0)
    return dict(zip(differences, found.tolist(), strict=True))
