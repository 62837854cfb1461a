"""What cannot be prepared: one clear error each, and nothing half-written."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from small_networks import card, image_folder, overflowing, save, weight

from avperception.calibration.set import CalibrationSet
from avperception.engines.precision import PrecisionRequest, prepare_onnx
from avperception.errors import ConfigurationError, EngineError


def ignore(stage: str, done: int, total: int) -> None:
    pass


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return overflowing(tmp_path / "network.onnx")


@pytest.fixture
def images(tmp_path: Path) -> CalibrationSet:
    return CalibrationSet.load(image_folder(tmp_path / "images", 4))


@pytest.fixture
def int8(source: Path, images: CalibrationSet) -> PrecisionRequest:
    return PrecisionRequest("int8", "max", images, (), None, card(source))


def test_fp32_is_the_file_itself(source: Path, int8: PrecisionRequest, tmp_path: Path) -> None:
    report = prepare_onnx(source, tmp_path / "out.onnx", replace(int8, precision="fp32"), ignore)
    assert (tmp_path / "out.onnx").read_bytes() == source.read_bytes()
    assert report.as_dict()["precision"] == "fp32"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"calibration": None}, "int8 needs a calibration set: make one with"),
        ({"keep_fp16": ("nothing_like_it",)}, "matches no node that INT8 could be used for; there are 2"),
        ({"keep_fp16": ("(",)}, "is no regular expression"),
        ({"max_drop": 1.5}, "it must be a share between 0 and 1"),
        ({"precision": "int4"}, "it must be one of fp32, fp16, int8"),
        ({"calibrator": "mean"}, "it must be one of max, entropy, percentile"),
        ({"precision": "fp16", "max_drop": 0.1}, "choose what is left out of int8"),
    ],
)
def test_a_request_that_cannot_be_met(
    source: Path, int8: PrecisionRequest, tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=text.replace("(", r"\(")):
        prepare_onnx(source, tmp_path / "out.onnx", replace(int8, **changes), ignore)
    assert not (tmp_path / "out.onnx").exists()


def test_an_onnxruntime_that_cannot_do_it_is_refused(
    source: Path, int8: PrecisionRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What 1.20.1 and older do instead: they fail inside, on FP16 scales or on measured ranges."""
    monkeypatch.setattr("onnxruntime.__version__", "1.20.1")
    with pytest.raises(EngineError, match=r"needs ONNX Runtime 1\.21 or newer, this is 1\.20\.1: run `pip"):
        prepare_onnx(source, tmp_path / "out.onnx", int8, ignore)
    assert not (tmp_path / "out.onnx").exists()
    prepare_onnx(source, tmp_path / "out.onnx", replace(int8, precision="fp32"), ignore)


def test_max_drop_needs_images_to_check_with(source: Path, int8: PrecisionRequest, tmp_path: Path) -> None:
    few = CalibrationSet(int8.calibration.folder, int8.calibration.members[:3])  # type: ignore[union-attr]
    with pytest.raises(ConfigurationError, match="max_drop needs 4 images or more"):
        prepare_onnx(source, tmp_path / "out.onnx", replace(int8, calibration=few, max_drop=0.1), ignore)


def test_not_onnx(tmp_path: Path, int8: PrecisionRequest) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(EngineError, match=r"text\.onnx is not a usable ONNX file"):
        prepare_onnx(tmp_path / "text.onnx", tmp_path / "out.onnx", int8, ignore)
    with pytest.raises(EngineError, match=r"missing\.onnx is not there"):
        prepare_onnx(tmp_path / "missing.onnx", tmp_path / "out.onnx", int8, ignore)


def test_dynamic_shapes(source: Path, tmp_path: Path, int8: PrecisionRequest) -> None:
    model = onnx.load(str(source))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, str(tmp_path / "dynamic.onnx"))
    with pytest.raises(EngineError, match="input `x` has no fixed shape"):
        prepare_onnx(tmp_path / "dynamic.onnx", tmp_path / "out.onnx", int8, ignore)


def test_fp64_names_the_node(tmp_path: Path, int8: PrecisionRequest) -> None:
    path = save(
        tmp_path / "double.onnx",
        [
            helper.make_node("Cast", ["x"], ["d"], name="widen", to=TensorProto.DOUBLE),
            helper.make_node("Cast", ["d"], ["s"], name="narrow", to=TensorProto.FLOAT),
            helper.make_node("Conv", ["s", "w"], ["out"], name="conv"),
        ],
        [weight("w", np.ones((2, 3, 1, 1)))],
    )
    with pytest.raises(EngineError, match=r"node `widen` \(Cast\) computes in FP64"):
        prepare_onnx(path, tmp_path / "out.onnx", int8, ignore)


def test_an_input_that_the_card_does_not_name(source: Path, tmp_path: Path, int8: PrecisionRequest) -> None:
    other = replace(int8.card, input=replace(int8.card.input, tensor="picture"))
    with pytest.raises(EngineError, match="has no input `picture`"):
        prepare_onnx(source, tmp_path / "out.onnx", replace(int8, card=other), ignore)


def test_nothing_to_quantise(tmp_path: Path, int8: PrecisionRequest) -> None:
    path = save(
        tmp_path / "plain.onnx",
        [
            helper.make_node("Slice", ["x", "from", "to", "axis"], ["out"], name="cut"),
        ],
        [
            onnx.numpy_helper.from_array(np.array([value], dtype=np.int64), name)
            for name, value in (("from", 0), ("to", 2), ("axis", 1))
        ],
    )
    with pytest.raises(EngineError, match="int8 has nothing to work on"):
        prepare_onnx(path, tmp_path / "out.onnx", int8, ignore)


def test_a_full_disk_leaves_nothing(
    source: Path, tmp_path: Path, int8: PrecisionRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "network.onnx").write_bytes(b"before")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EngineError, match="cannot be written: No space left on device"):
        prepare_onnx(source, out / "network.onnx", replace(int8, precision="fp16"), ignore)
    assert [path.name for path in out.iterdir()] == ["network.onnx"]
    assert (out / "network.onnx").read_bytes() == b"before"


def test_interrupted_leaves_nothing(source: Path, tmp_path: Path, int8: PrecisionRequest) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "calibrating":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_onnx(source, tmp_path / "out.onnx", int8, interrupt)
    assert not [path.name for path in tmp_path.iterdir() if "out" in path.name]
