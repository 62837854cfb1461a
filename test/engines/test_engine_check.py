"""An engine against its FP32 network; without a GPU, the network that the engine was built of."""

from dataclasses import replace
from pathlib import Path

import pytest
from networks import card_of, image_folder, segmenter

from avperception.engines.adapter import Flavour
from avperception.engines.builder import BuildRequest, BuildResult, build_engine
from avperception.engines.check import CheckReport, check_engine
from avperception.engines.engine_file import StaleEngineError
from avperception.engines.machine import current_machine
from avperception.engines.options import CompilerOptions, Precision, Profile
from avperception.errors import EngineError, ModelError
from avperception.models.card import DecoderSpec, ModelCard

pytestmark = pytest.mark.skipif(current_machine().gpu is not None, reason="there is a GPU")


@pytest.fixture
def card(tmp_path: Path) -> ModelCard:
    return card_of(segmenter(tmp_path / "n.onnx"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "images", count=3)


def build(
    card: ModelCard, precision: Precision = "fp16", target: str = "8.6", **options: object
) -> BuildResult:
    request = BuildRequest(card, precision, CompilerOptions(targets=(target,), **options))  # type: ignore[arg-type]
    return build_engine(request, lambda stage, part: None)


def check(card: ModelCard, images: Path) -> CheckReport:
    return check_engine(card, "fp16", images, 50, lambda done, total: None)


def test_fp16_is_near_fp32_and_unreadable_images_are_told(rtx: Flavour, card: ModelCard, tmp_path: Path):
    built = build(card)
    report = check(card, image_folder(tmp_path / "mixed", count=3, corrupt=1))
    assert (report.engine, report.on_gpu, report.images) == (str(built.file.path), False, 3)
    assert report.skipped == "1 of 4 images: 03.png is no image that can be read"
    assert report.as_dict()["skipped"] == report.skipped
    assert 0 < report.output_errors["y"] < 1e-2
    assert report.drop is not None
    assert report.failures(limit=0.01, max_error=None) == []


def test_an_altered_engine_is_refused_though_only_its_network_would_run(
    rtx: Flavour, card: ModelCard, images: Path
):
    file = build(card).file
    data = bytearray(file.path.read_bytes())
    data[100] ^= 1
    file.path.write_bytes(data)
    with pytest.raises(StaleEngineError, match=r"it was altered\); .*--precision fp16 --target sm86`"):
        check(card, images)


def test_an_engine_without_its_manifest_is_refused_with_the_command(
    rtx: Flavour, card: ModelCard, images: Path
):
    build(card).file.manifest_path.unlink()
    with pytest.raises(
        StaleEngineError, match=r"nothing is known .*build it with `avperception engine build"
    ):
        check(card, images)


def test_another_engine_that_is_whole_is_taken_instead(rtx: Flavour, card: ModelCard, images: Path):
    older = build(card, target="8.9").file
    build(card).file.path.write_bytes(b"")
    assert check(card, images).engine == str(older.path)


def test_an_engine_whose_network_is_gone_is_refused_with_the_command(
    rtx: Flavour, card: ModelCard, images: Path
):
    build(card).file.prepared_path.unlink()
    with pytest.raises(EngineError, match=r"is not the network that .*engine build .*--target sm86`"):
        check(card, images)


def test_a_card_edited_since_the_build_is_refused(rtx: Flavour, card: ModelCard, images: Path):
    build(card)
    edited = replace(card, decoder=DecoderSpec("argmax", {"z": card.classes}))
    with pytest.raises(ModelError, match="output `z` is not there, the network has `y`"):
        check(edited, images)


def test_open_axes_are_run_at_the_usual_shape(rtx: Flavour, tmp_path: Path, images: Path):
    card = card_of(segmenter(tmp_path / "open.onnx", sizes=("batch", 3, "height", "width")))
    profile = Profile((1, 3, 16, 16), (2, 3, 32, 48), (4, 3, 64, 64))
    build(card, profiles={"x": profile})
    report = check(card, images)
    assert report.images == 3
    assert report.output_errors["y"] < 1e-2
