"""Small ONNX networks made for one purpose each, and cards that describe them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from avperception.models.card import DecoderSpec, InputSpec, ModelCard

SIZE = (24, 32)
"""Height and width of the small networks."""


def card(path: Path, classes: tuple[str, ...] = ("background", "bright")) -> ModelCard:
    """A card of a segmenter with one output `out`, pixels as they are."""
    spec = InputSpec("x", "rgb", "stretch", "top_left", 0.0, (0.0,) * 3, (1.0,) * 3, 1.0)  # type: ignore[arg-type]
    decoder = DecoderSpec("argmax", {"out": classes})
    return ModelCard(
        path.with_suffix(".yaml"),
        path.stem,
        path.name,
        "0" * 64,
        None,
        "MIT",
        "segmentation",
        spec,
        decoder,
        classes,
    )


def weight(name: str, values: object) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype=np.float32), name)


def save(path: Path, nodes: list[onnx.NodeProto], weights: list[TensorProto], opset: int = 17) -> Path:
    """Write a network from `x` (1, 3, height, width) to `out` (1, 2, height, width)."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, *SIZE))],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, (1, 2, *SIZE))],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return path


def overflowing(path: Path) -> Path:
    """Convolution, times 1000, times 1/1000, convolution: only the two products see more than FP16 holds."""
    return save(
        path,
        [
            helper.make_node("Conv", ["x", "w1"], ["a"], name="first"),
            helper.make_node("Mul", ["a", "up"], ["b"], name="enlarge"),
            helper.make_node("Mul", ["b", "down"], ["c"], name="shrink"),
            helper.make_node("Conv", ["c", "w2"], ["out"], name="last"),
        ],
        [
            weight("w1", np.full((3, 3, 1, 1), 0.5)),
            weight("up", 1000.0),
            weight("down", 0.001),
            weight("w2", [[[[0.01]], [[0.0]], [[0.0]]], [[[0.0]], [[0.02]], [[0.01]]]]),
        ],
    )


def image_folder(folder: Path, count: int) -> Path:
    """Smooth pictures of several brightnesses, PNG."""
    folder.mkdir()
    for index, pixels in enumerate(pictures(count)):
        cv2.imwrite(str(folder / f"{index:03d}.png"), pixels)
    return folder


def pictures(count: int) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(1)
    made = []
    for index in range(count):
        coarse = rng.integers(0, 80 + 175 * index // max(1, count - 1) + 1, (6, 8, 3), dtype=np.uint8)
        made.append(cv2.resize(coarse, (96, 72), interpolation=cv2.INTER_CUBIC))
    return made
