"""A detector of almost no work, for measuring what surrounds a network."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

WIDTH, HEIGHT, STRIDES = 160, 96, (8, 16, 32)
BOXES, SIDE = 3, 5.0
"""How many, near the horizon, and how large [pixels of the input]: as cars at a distance are."""
CLASSES = ("car",)


def write_small_detector(folder: Path) -> Path:
    """Write a network of the YOLOX form that finds the same few boxes in every image; give its card."""
    values = 5 + len(CLASSES)
    cells = sum(WIDTH // stride * (HEIGHT // stride) for stride in STRIDES)
    finest = WIDTH // STRIDES[0] * (HEIGHT // STRIDES[0])
    places = np.linspace(finest // 3, 2 * finest // 3, BOXES).astype(int)
    found = np.zeros((1, cells, values), np.float32)
    found[..., 4:] = -12.0  # logits of objectness and class
    found[0, places, 2:4] = np.log(SIDE / STRIDES[0])
    found[0, places, 4:] = 4.0
    weights: dict[str, NDArray[Any]] = {"found": found}
    nodes, parts = [], []
    for stride in STRIDES:
        weights[f"w{stride}"] = np.full((values, 3, stride, stride), 1e-9, np.float32)
        shape = np.array([1, values, -1], np.int64)
        weights[f"s{stride}"] = shape
        nodes += [
            helper.make_node("Conv", ["images", f"w{stride}"], [f"c{stride}"], strides=[stride, stride]),
            helper.make_node("Reshape", [f"c{stride}", f"s{stride}"], [f"r{stride}"]),
        ]
        parts.append(f"r{stride}")
    nodes += [
        helper.make_node("Concat", parts, ["all"], axis=2),
        helper.make_node("Transpose", ["all"], ["rows"], perm=[0, 2, 1]),
        helper.make_node("Add", ["rows", "found"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small_detector",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, (1, 3, HEIGHT, WIDTH))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, (1, cells, values))],
        [numpy_helper.from_array(weight, name) for name, weight in weights.items()],
    )
    file = folder / "small_detector.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(file))
    card = folder / "small_detector.yaml"
    card.write_text(
        f"name: small_detector\nfile: {file.name}\n"
        f"sha256: {hashlib.sha256(file.read_bytes()).hexdigest()}\n"
        "licence: Apache-2.0\ntask: detection\n"
        "input: {tensor: images, colour: rgb, resize: letterbox, anchor: top_left, pad_value: 114}\n"
        "decoder: {name: yolox, output: output}\n"
        f"classes: [{', '.join(CLASSES)}]\n"
    )
    return card
