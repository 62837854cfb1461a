"""Values that are no numbers: a converted network's are found, those of FP32 itself do not count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from small_networks import SIZE, save

from avperception.engines.precision.judge import Judge

SHAPE = (1, 3, *SIZE)


def network(path: Path, operator: str) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Slice", ["x", "from", "to", "axis"], ["two"], name="slice"),
        helper.make_node(operator, ["two"], ["out"], name="last"),
    ]
    bounds = [onnx.numpy_helper.from_array(np.array([value]), name) for name, value in BOUNDS.items()]
    return onnx.load(str(save(path, nodes, bounds)))


BOUNDS = {"from": 0, "to": 2, "axis": 1}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad_image", [0, 1])
def test_one_value_that_is_no_number_on_any_image_is_found(bad_image: int, tmp_path: Path) -> None:
    inputs = [np.ones(SHAPE, np.float32), np.ones(SHAPE, np.float32)]
    inputs[bad_image][0, 0, 0, 0] = -1.0  # a square root of this is none
    judge = Judge(network(tmp_path / "fp32.onnx", "Abs"), "x", inputs, None)
    verdict = judge(network(tmp_path / "other.onnx", "Sqrt"))
    assert verdict.error == {"out": np.inf}
    assert verdict.noise == np.inf


@pytest.mark.filterwarnings("error")
def test_what_is_no_number_in_fp32_already_is_left_out(tmp_path: Path) -> None:
    inputs = [np.full(SHAPE, 4.0, np.float32)]
    inputs[0][0, 0, 0, :5] = -1.0
    judge = Judge(network(tmp_path / "fp32.onnx", "Sqrt"), "x", inputs, None)
    assert judge(network(tmp_path / "same.onnx", "Sqrt")).error == {"out": 0.0}
    verdict = judge(network(tmp_path / "other.onnx", "Abs"))
    assert verdict.error == {"out": 1.0}  # 4 in place of 2
    assert verdict.noise == pytest.approx(1.0)
