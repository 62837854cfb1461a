"""Small networks of a few nodes, good and bad, made with onnx."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from avperception.models.card import ModelCard
from avperception.models.card_file import load_card

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


def card_of(network: Path) -> ModelCard:
    """A card of a segmenter with one output `y`, written beside the network and read."""
    digest = hashlib.sha256(network.read_bytes()).hexdigest()
    path = network.with_suffix(".yaml")
    path.write_text(
        f"name: {network.stem}\nfile: {network.name}\nsha256: {digest}\nlicence: MIT\ntask: segmentation\n"
        "input: {tensor: x, colour: rgb, resize: stretch, scale: 0.01}\n"
        "decoder:\n  name: argmax\n  outputs:\n    y: [background, road]\n"
        "classes: [background, road]\n"
    )
    return load_card(path)


def segmenter(path: Path, operator: str = "Relu", sizes: Sequence["int | str"] = (1, 3, 16, 24)) -> Path:
    """A convolution to two channels, `body/conv`, and one node more, `head/last`; FP32, any sizes."""
    weight = np.random.default_rng(7).normal(size=(2, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="body/conv", pads=[1, 1, 1, 1]),
        helper.make_node(operator, ["c"], ["y"], name="head/last"),
    ]
    return save(path, nodes, [("x", FLOAT, sizes)], [("y", FLOAT, (sizes[0], 2, *sizes[2:]))], w=weight)


def image_folder(folder: Path, count: int = 4, corrupt: int = 0) -> Path:
    """PNG images of noise, and `corrupt` ones that are cut off."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    for index in range(count + corrupt):
        data = cv2.imencode(".png", rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))[1].tobytes()
        (folder / f"{index:02d}.png").write_bytes(data if index < count else data[:40])
    return folder
