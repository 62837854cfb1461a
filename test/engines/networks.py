"""Small networks of a few nodes, good and bad, made with onnx."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE
IMAGE = (1, 3, 8, 8)

Value = tuple[str, int, Sequence["int | str"]]


def save(
    path: Path,
    nodes: list[NodeProto],
    inputs: list[Value],
    outputs: list[Value],
    **weights: np.ndarray[Any, Any],
) -> Path:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(weight, name) for name, weight in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def one_node(
    path: Path, operator: str, name: str, output: Value = ("y", FLOAT, IMAGE), **weights: Any
) -> Path:
    node = helper.make_node(operator, ["x", *weights], ["y"], name=name)
    return save(path, [node], [("x", FLOAT, IMAGE)], [output], **weights)


def convolution(path: Path, weight: np.ndarray[Any, Any]) -> Path:
    shape = (1, weight.shape[1], 16, 16)
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv", pads=[1, 1, 1, 1])
    return save(path, [node], [("x", FLOAT, shape)], [("y", FLOAT, (1, weight.shape[0], 16, 16))], w=weight)


def open_batch(path: Path) -> Path:
    shape = ("batch", 3, 8, 8)
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    return save(path, [node], [("x", FLOAT, shape)], [("y", FLOAT, shape)])
