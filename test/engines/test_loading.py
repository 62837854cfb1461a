import importlib.util
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest
from networks import card_of, image_folder, segmenter

from avperception.engines import load_engine
from avperception.engines.adapter import Flavour
from avperception.engines.builder import BuildRequest, build_engine
from avperception.engines.engine_file import EngineFile, StaleEngineError, engines_of
from avperception.engines.loading import find_engine
from avperception.engines.machine import current_machine
from avperception.engines.options import CompilerOptions, Precision
from avperception.errors import ConfigurationError, EngineError
from avperception.models.library import find_card

NETWORK = "twinlitenet_360x640.onnx"
without_gpu = pytest.mark.skipif(current_machine().gpu is not None, reason="there is a GPU")


@without_gpu
def test_without_a_gpu_auto_is_onnx_runtime_whatever_is_built(engine: EngineFile, models: Path):
    assert "ONNX Runtime" in load_engine(models / NETWORK).description
    assert "ONNX Runtime" in load_engine(models / NETWORK, engine_policy="rebuild").description


def test_an_engine_that_is_not_built_is_asked_for_with_the_command(models: Path):
    card = find_card("twinlitenet")
    with pytest.raises(EngineError, match=r"`avperception engine build twinlitenet --precision fp16`"):
        load_engine(models / NETWORK, "tensorrt", card=card)
    with pytest.raises(EngineError, match="set backend to onnxruntime"):
        load_engine(models / NETWORK, "tensorrt")


def test_names_that_are_not_known_are_refused(models: Path):
    with pytest.raises(
        ConfigurationError, match="engine_policy is 'maybe': it must be one of strict, rebuild"
    ):
        load_engine(models / NETWORK, engine_policy="maybe")
    with pytest.raises(ConfigurationError, match="backend is 'cuda'"):
        load_engine(models / NETWORK, "cuda")


@without_gpu
def test_a_stale_engine_is_refused_by_default(engine: EngineFile, models: Path):
    with pytest.raises(StaleEngineError, match=re.escape(f"engine {engine.path} cannot be used here: GPU")):
        find_engine(models / NETWORK, "fp32")


@without_gpu
def test_a_rebuild_is_said_and_done_for_the_targets_asked_for(
    rtx: Flavour, engine: EngineFile, models: Path, caplog: pytest.LogCaptureFixture
):
    engine.path.write_bytes(b"damaged")
    with caplog.at_level(logging.WARNING):
        file = find_engine(models / NETWORK, "fp32", "rebuild")
    assert file.path == engine.path
    assert engine.path.stat().st_size > 1_000_000
    before, after = (record.message for record in caplog.records)
    assert "engine_policy is rebuild, building now" in before
    assert "it was cut off or replaced" in before
    assert f"built {engine.path}" in after


@without_gpu
def test_a_rebuild_with_other_images_than_before_says_so(
    rtx: Flavour, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    card = card_of(segmenter(tmp_path / "n.onnx"))
    images = image_folder(tmp_path / "images", count=4)
    request = BuildRequest(card, "int8", CompilerOptions(targets=("8.6",)), calibration_set=images)
    engine = build_engine(request, lambda stage, part: None).file.path
    network = tmp_path / "n.onnx"
    for removed, said in (([], 2), (["03.png"], 3)):
        for name in removed:
            (images / name).unlink()
        engine.write_bytes(b"damaged")
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert find_engine(network, "int8", "rebuild", card).path == engine
        assert len(caplog.records) == said
    assert caplog.records[-1].message == f"its calibration set {images} is not what it was before"


@without_gpu
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_in_a_common_folder_networks_of_one_name_are_told_apart(
    precision: Precision, rtx: Flavour, tmp_path: Path
):
    cards = []
    for name, operator in (("first", "Relu"), ("second", "Sigmoid")):
        (tmp_path / name).mkdir()
        cards.append(card_of(segmenter(tmp_path / name / "n.onnx", operator)))
    images = image_folder(tmp_path / "images")
    request = BuildRequest(cards[0], precision, CompilerOptions(targets=("8.6",)), calibration_set=images)
    build_engine(request, lambda stage, part: None)
    network = cards[1].path.with_name("n.onnx")
    with pytest.raises(StaleEngineError, match=r"network n\.onnx \(engine: ") as caught:
        find_engine(network, precision, card=cards[1])
    assert f"avperception engine build {cards[1].path} --precision {precision}" in caught.value.command
    # Nothing is known of how the second one is to be built, least of all what the first one was built by:
    # without a GPU there is nothing to build for, and INT8 has no images.
    with pytest.raises(EngineError, match=r"there is no GPU to build for|network n\.onnx"):
        find_engine(network, precision, "rebuild", card=cards[1])
    assert find_engine(cards[0].path.with_name("n.onnx"), precision, "rebuild", card=cards[0])


def test_int8_is_not_rebuilt_without_its_calibration_set(models: Path):
    with pytest.raises(EngineError, match="int8 needs a calibration set"):
        find_engine(models / NETWORK, "int8", "rebuild", find_card("twinlitenet"))


def test_the_newest_engine_of_a_network_comes_first(engine: EngineFile, models: Path):
    other = engine.path.with_name(f"{Path(NETWORK).stem}.fp16.sm120.engine")
    other.write_bytes(b"")
    engine.path.with_name("another_network.fp32.sm86.engine").write_bytes(b"")
    engine.path.with_name(f"{Path(NETWORK).stem}.strange.name.here.engine").write_bytes(b"")
    assert [file.path for file in engines_of(models / NETWORK)] == [other, engine.path]
    assert [file.path for file in engines_of(models / NETWORK, "fp32")] == [engine.path]


def test_without_tensorrt_everything_imports_and_says_how_to_install_it(models: Path, tmp_path: Path):
    script = """
import sys
for name in ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"):
    sys.modules[name] = None
import avperception.engines.builder, avperception.engines.tensorrt, avperception.cli.engine
from avperception.engines.adapter import flavour
try:
    flavour()
except Exception as error:
    print(type(error).__name__, error)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.startswith("EngineError TensorRT is not there (tensorrt: ")
    assert "pip install avperception[tensorrt-rtx]" in result.stdout
    assert result.stdout.count("\n") == 1


def test_the_flavour_can_be_chosen(rtx: Flavour, monkeypatch: pytest.MonkeyPatch):
    from avperception.engines.adapter import flavour

    monkeypatch.setenv("AVPERCEPTION_TENSORRT", "tensorrt_rtx")
    assert flavour() == rtx
    monkeypatch.setenv("AVPERCEPTION_TENSORRT", "rtx")
    with pytest.raises(ConfigurationError, match="must be one of tensorrt, tensorrt_rtx"):
        flavour()
    if importlib.util.find_spec("tensorrt_bindings") is None:
        monkeypatch.setenv("AVPERCEPTION_TENSORRT", "tensorrt")
        with pytest.raises(EngineError, match="tensorrt: not installed"):
            flavour()
