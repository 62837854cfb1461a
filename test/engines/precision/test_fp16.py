"""FP16: the islands are found, and values cross them in FP32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers import float16
from small_networks import card, image_folder, overflowing, save, weight

from avperception.calibration.set import CalibrationSet
from avperception.engines import load_engine
from avperception.engines.precision import PrecisionReport, PrecisionRequest, prepare_onnx
from avperception.engines.precision.half import convert_to_fp16
from avperception.engines.precision.judge import run_network
from avperception.models.card import ModelCard


def to_fp16(
    source: Path, target: Path, model_card: ModelCard, images: CalibrationSet | None
) -> PrecisionReport:
    request = PrecisionRequest("fp16", "max", images, (), None, model_card)
    return prepare_onnx(source, target, request, lambda stage, done, total: None)


def types_of(path: Path) -> dict[str, int]:
    """Element type of every tensor of a network, inferred."""
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)), strict_mode=True)
    tensors = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    return {tensor.name: tensor.type.tensor_type.elem_type for tensor in tensors}


def run(path: Path, pixels: np.ndarray) -> np.ndarray:
    context = load_engine(path, "onnxruntime").create_context()
    context.inputs["x"][...] = pixels
    context.execute()
    return context.outputs["out"].copy()


def test_the_one_overflowing_island_is_found_and_nothing_else(tmp_path: Path) -> None:
    source = overflowing(tmp_path / "overflow.onnx")
    images = CalibrationSet.load(image_folder(tmp_path / "images", 4))
    report = to_fp16(source, tmp_path / "half.onnx", card(source), images)
    assert [(e.name, e.precision) for e in report.exceptions] == [("enlarge", "fp32"), ("shrink", "fp32")]
    assert "tensor `b` reaches" in report.exceptions[0].reason
    onnx.checker.check_model(onnx.load(str(tmp_path / "half.onnx")), full_check=True)


def test_values_beyond_fp16_pass_through_the_island(tmp_path: Path) -> None:
    """Both casts between its two nodes are gone: through FP16 the result would be infinite."""
    source = overflowing(tmp_path / "overflow.onnx")
    to_fp16(source, tmp_path / "half.onnx", card(source), None)
    bright = np.full((1, 3, 24, 32), 200.0, dtype=np.float32)
    reference, half = run(source, bright), run(tmp_path / "half.onnx", bright)
    assert np.isfinite(half).all()
    np.testing.assert_allclose(half, reference, rtol=5e-3)
    types = types_of(tmp_path / "half.onnx")
    assert types["x"] == types["out"] == TensorProto.FLOAT
    assert types["a"] == TensorProto.FLOAT16


def test_an_output_that_overflows_leaves_in_fp32(tmp_path: Path) -> None:
    source = save(
        tmp_path / "hot.onnx",
        [
            helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
            helper.make_node("Mul", ["a", "up"], ["out"], name="enlarge"),
        ],
        [weight("w", np.full((2, 3, 1, 1), 0.5)), weight("up", 1e4)],
    )
    report = to_fp16(source, tmp_path / "half.onnx", card(source), None)
    assert [e.name for e in report.exceptions] == ["enlarge"]
    bright = np.full((1, 3, 24, 32), 200.0, dtype=np.float32)
    np.testing.assert_allclose(run(tmp_path / "half.onnx", bright), 3e6, rtol=1e-3)


def test_a_weight_beyond_fp16_stays_whole_even_if_shared(tmp_path: Path) -> None:
    """`big` is read by a node that overflows and by one that only compares with it."""
    source = save(
        tmp_path / "shared.onnx",
        [
            helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
            helper.make_node("Mul", ["a", "small"], ["b"], name="shrink"),
            helper.make_node("Mul", ["b", "big"], ["c"], name="enlarge"),
            helper.make_node("Div", ["c", "big"], ["out"], name="restore"),
        ],
        [weight("w", np.full((2, 3, 1, 1), 0.5)), weight("small", 0.5), weight("big", 1e6)],
    )
    report = to_fp16(source, tmp_path / "half.onnx", card(source), None)
    assert [e.name for e in report.exceptions] == ["enlarge", "restore"]
    pixels = np.full((1, 3, 24, 32), 7.0, dtype=np.float32)
    np.testing.assert_allclose(run(tmp_path / "half.onnx", pixels), 5.25, rtol=1e-3)


def test_values_too_small_for_fp16_are_an_island_and_dead_weights_are_none(tmp_path: Path) -> None:
    source = save(
        tmp_path / "small.onnx",
        [
            helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
            helper.make_node("Mul", ["a", "down"], ["b"], name="shrink"),
            helper.make_node("Mul", ["b", "up"], ["c"], name="restore"),
            helper.make_node("Add", ["c", "dead"], ["out"], name="add"),
        ],
        [
            weight("w", np.full((2, 3, 1, 1), 0.5)),
            weight("down", 1e-8),
            weight("up", 1e6),
            weight("dead", 1e-41),
        ],
    )
    report = to_fp16(source, tmp_path / "half.onnx", card(source), None)
    assert [e.name for e in report.exceptions] == ["shrink", "restore"]
    pixels = np.full((1, 3, 24, 32), 100.0, dtype=np.float32)
    np.testing.assert_allclose(run(tmp_path / "half.onnx", pixels), 150 * 1e-2, rtol=2e-3)


def test_weights_whose_products_cancel_are_given_in_two_parts(tmp_path: Path) -> None:
    """1000.3 - 1000.1 is 0.2, and 0.5 in FP16, which knows 1000.0 and 1000.5 there; 3 and 1 are exact."""
    source = save(
        tmp_path / "cancelling.onnx",
        [
            helper.make_node("Conv", ["x", "spread"], ["a"], name="spread"),
            helper.make_node("Conv", ["a", "w"], ["out"], name="cancel"),
        ],
        [
            weight("spread", np.full((2, 3, 1, 1), 0.125)),
            weight("w", [[[[1000.3]], [[-1000.1]]], [[[3.0]], [[1.0]]]]),
        ],
    )
    report = to_fp16(source, tmp_path / "half.onnx", card(source), None)
    assert any("too coarse for cancel:" in note for note in report.notes)
    assert report.exceptions == ()
    pixels = np.full((1, 3, 24, 32), 64.0, dtype=np.float32)
    exact, half = run(source, pixels), run(tmp_path / "half.onnx", pixels)
    np.testing.assert_allclose(exact[0, :, 0, 0], [4.8, 96.0], rtol=1e-3)
    np.testing.assert_allclose(half, exact, rtol=5e-3)
    assert TensorProto.FLOAT not in {
        tensor.data_type for tensor in onnx.load(str(tmp_path / "half.onnx")).graph.initializer
    }


def cancelling(path: Path) -> Path:
    """Channels `a` and `b` of the first convolution are nearly alike; the last one gives their difference."""
    return save(
        path,
        [
            helper.make_node("Conv", ["x", "alike"], ["a"], name="alike"),
            helper.make_node("Sigmoid", ["a"], ["s"], name="sigmoid"),
            helper.make_node("Mul", ["a", "s"], ["m"], name="multiply"),
            helper.make_node("Conv", ["m", "difference"], ["out"], name="difference"),
        ],
        [
            weight("alike", [[[[0.3]], [[0.3]], [[0.3]]], [[[0.301]], [[0.301]], [[0.301]]]]),
            weight("difference", [[[[1.0]], [[-1.0]]], [[[-1.0]], [[1.0]]]]),
        ],
    )


def test_where_products_cancel_the_input_is_kept_in_fp32(tmp_path: Path) -> None:
    source = cancelling(tmp_path / "cancelling.onnx")
    report = to_fp16(source, tmp_path / "half.onnx", card(source), None)
    assert [e.name for e in report.exceptions] == ["alike", "sigmoid", "multiply", "difference"]
    assert "its products cancel" in report.exceptions[-1].reason
    assert report.exact_fp32 and any("without TF32" in note for note in report.notes)
    pixels = np.full((1, 3, 24, 32), 200.0, dtype=np.float32)
    exact, half = run(source, pixels), run(tmp_path / "half.onnx", pixels)
    np.testing.assert_allclose(exact[0, :, 0, 0], [-0.6, 0.6], rtol=1e-3)
    np.testing.assert_allclose(half, exact, rtol=2e-3)  # in FP16 it is 0.5 or 1.0


def test_fp16_is_judged_as_it_is_stored(tmp_path: Path) -> None:
    """ONNX Runtime leaves the rounding between two FP16 nodes out on most processors; a GPU does not."""
    source = onnx.load(str(cancelling(tmp_path / "cancelling.onnx")))
    pixels = np.full((1, 3, 24, 32), 200.0, dtype=np.float32)
    (outputs,) = run_network(convert_to_fp16(source, []), "x", [pixels])
    in_half = np.float16(200 * np.float16(0.3) * 3), np.float16(200 * np.float16(0.301) * 3)
    wanted = np.float32(in_half[0]) - np.float32(in_half[1])
    np.testing.assert_array_equal(outputs["out"][0, 0], np.full((24, 32), wanted))


@pytest.mark.parametrize("kind", ["input", "output"])
def test_networks_of_fp16_inputs_and_outputs_are_judged_too(tmp_path: Path, kind: str) -> None:
    model = convert_to_fp16(onnx.load(str(cancelling(tmp_path / "cancelling.onnx"))), [])
    half = float16.convert_float_to_float16(
        onnx.load(str(tmp_path / "cancelling.onnx")), keep_io_types=["out" if kind == "input" else "x"]
    )
    pixels = np.random.default_rng(0).uniform(0, 200, (1, 3, 24, 32)).astype(np.float32)
    (wanted,) = run_network(model, "x", [pixels])
    (found,) = run_network(half, "x", [pixels.astype(np.float16) if kind == "input" else pixels])
    np.testing.assert_allclose(found["out"].astype(np.float32), wanted["out"], atol=0.5)


def test_with_tf32_nothing_is_kept_for_its_digits(tmp_path: Path) -> None:
    source = cancelling(tmp_path / "cancelling.onnx")
    request = PrecisionRequest("fp16", "max", None, (), None, card(source), tf32=True)
    report = prepare_onnx(source, tmp_path / "half.onnx", request, lambda stage, done, total: None)
    assert report.exceptions == () and not report.exact_fp32


def test_a_part_that_is_fp16_already_stays_so(tmp_path: Path) -> None:
    """Its weights are in a Constant node, as some exporters write them."""
    values = numpy_helper.from_array(np.full((2, 3, 1, 1), 0.5, np.float16))
    source = save(
        tmp_path / "mixed.onnx",
        [
            helper.make_node("Constant", [], ["w"], name="weights", value=values),
            helper.make_node("Cast", ["x"], ["h"], name="half", to=TensorProto.FLOAT16),
            helper.make_node("Conv", ["h", "w"], ["c"], name="conv"),
            helper.make_node("Cast", ["c"], ["out"], name="single", to=TensorProto.FLOAT),
        ],
        [],
    )
    report = to_fp16(source, tmp_path / "half.onnx", card(source), None)
    assert report.exceptions == ()
    pixels = np.full((1, 3, 24, 32), 64.0, dtype=np.float32)
    np.testing.assert_array_equal(run(tmp_path / "half.onnx", pixels), np.full((1, 2, 24, 32), 96.0))


def test_weights_may_be_listed_among_the_inputs(tmp_path: Path) -> None:
    """Files of IR 3 do so."""
    model = convert_to_fp16(onnx.load(str(cancelling(tmp_path / "cancelling.onnx"))), [])
    pixels = np.random.default_rng(0).uniform(0, 200, (1, 3, 24, 32)).astype(np.float32)
    (wanted,) = run_network(model, "x", [pixels])
    listed = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in model.graph.initializer]
    model.graph.input.extend(listed)
    (found,) = run_network(model, "x", [pixels])
    np.testing.assert_array_equal(found["out"], wanted["out"])


@pytest.mark.parametrize("name", ["yolox", "twinlitenet"])
def test_real_networks_keep_their_results(
    name: str, request: pytest.FixtureRequest, street: CalibrationSet, tmp_path: Path
) -> None:
    """Measured with ONNX Runtime 1.32: AP50 drops by 0, mIoU by 0.1 %."""
    source, model_card = request.getfixturevalue(name), request.getfixturevalue(f"{name}_card")
    few = CalibrationSet(street.folder, street.members[::3])
    report = to_fp16(source, tmp_path / "half.onnx", model_card, few)
    assert report.metric is not None
    assert report.metric.search <= 0.01
    # In YOLOX-nano the products of two convolutions cancel: these stay FP32, with what makes their inputs.
    islands = {exception.name for exception in report.exceptions}
    assert ("Conv_47" in islands) == (name == "yolox") and len(islands) <= 12
    assert report.images_used == len(few)
    assert report.calibration_hash == few.hash
    before, after = load_engine(source, "onnxruntime"), load_engine(tmp_path / "half.onnx", "onnxruntime")
    assert before.inputs == after.inputs
    assert before.outputs == after.outputs
    assert (tmp_path / "half.onnx").stat().st_size < 0.75 * source.stat().st_size
