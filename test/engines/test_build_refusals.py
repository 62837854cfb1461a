"""What cannot be built is refused before anything takes time, in one line, and leaves nothing."""

import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from networks import card_of, image_folder, segmenter

from avperception.engines.adapter import Flavour
from avperception.engines.builder import BuildRequest, BuildResult, build_engine
from avperception.engines.engine_file import rebuild_command
from avperception.engines.machine import current_machine
from avperception.engines.options import PRECISIONS, CompilerOptions, Precision, Profile
from avperception.errors import AvperceptionError, ConfigurationError, EngineError, ModelError
from avperception.models.card import DecoderSpec, ModelCard

OPEN = (1, 3, "height", "width")
PROFILE = Profile((1, 3, 16, 16), (1, 3, 32, 48), (1, 3, 64, 64))


def build(
    card: ModelCard, precision: Precision = "fp32", said: "list[str] | None" = None, **more: object
) -> BuildResult:
    profiles = more.pop("profiles", {})
    request = BuildRequest(card, precision, CompilerOptions(targets=("8.6",), profiles=profiles), **more)  # type: ignore[arg-type]
    return build_engine(request, lambda stage, part: said.append(stage) if said is not None else None)


@pytest.fixture
def engines() -> Path:
    return Path(os.environ["AVPERCEPTION_ENGINES"])


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return image_folder(tmp_path / "images")


def refusal(kind: type[AvperceptionError], card: ModelCard, precision: Precision, **more: object) -> str:
    """The error of a build that has not begun: no stage was told, no lock taken."""
    said: list[str] = []
    with pytest.raises(kind) as caught:
        build(card, precision, said, **more)
    assert said == []
    assert list(Path(os.environ["AVPERCEPTION_ENGINES"]).iterdir()) == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_operator_without_a_kernel_is_named_before_images_are_looked_at(
    precision: Precision, rtx: Flavour, tmp_path: Path, images: Path
):
    card = card_of(segmenter(tmp_path / "n.onnx", "Det"))
    text = refusal(EngineError, card, precision, calibration_set=images)
    assert "operator Det of node `head/last`" in text
    assert "false" not in text


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ({"z": ("background", "road")}, "output `z` is not there, the network has `y`"),
        ({"y": ("background", "road", "lane")}, "`y` is 1x2x16x24, not 1x3x16x24"),
    ],
)
def test_a_card_of_another_network_is_refused(
    precision: Precision,
    outputs: dict[str, tuple[str, ...]],
    reason: str,
    rtx: Flavour,
    tmp_path: Path,
    images: Path,
):
    card = replace(card_of(segmenter(tmp_path / "n.onnx")), decoder=DecoderSpec("argmax", outputs))
    assert reason in refusal(ModelError, card, precision, calibration_set=images)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_open_axes_need_a_profile_and_stay_open(
    precision: Precision, rtx: Flavour, tmp_path: Path, images: Path
):
    card = card_of(segmenter(tmp_path / "n.onnx", sizes=OPEN))
    text = refusal(EngineError, card, precision, calibration_set=images)
    assert "open on axis 2, 3" in text
    assert "`--shape x=1x3x320x320,1x3x640x640,1x3x1280x1280`" in text
    result = build(card, precision, calibration_set=images, profiles={"x": PROFILE})
    assert result.manifest.inputs[0].shape == (1, 3, -1, -1)
    assert result.manifest.inputs[0].profile == (PROFILE.minimum, PROFILE.optimum, PROFILE.maximum)
    if precision != "fp32":
        prepared = onnx.load(str(result.file.prepared_path))
        sizes = [
            axis.dim_param or axis.dim_value for axis in prepared.graph.input[0].type.tensor_type.shape.dim
        ]
        assert sizes == [*OPEN]
        assert result.manifest.precision["metric"]["search"] < 0.05


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("choice", [{"max_drop": 0.01}, {"keep_fp16": ("head",)}])
def test_what_only_int8_has_is_refused(
    precision: Precision, choice: dict[str, object], rtx: Flavour, tmp_path: Path
):
    text = refusal(ConfigurationError, card_of(segmenter(tmp_path / "n.onnx")), precision, **choice)
    assert f"--precision is {precision}: leave them away" in text


def test_fp32_is_not_calibrated_and_does_not_ask_for_the_set_again(
    rtx: Flavour, tmp_path: Path, images: Path
):
    card = card_of(segmenter(tmp_path / "n.onnx"))
    command = {}
    for precision in ("fp32", "fp16"):
        result = build(card, precision, calibration_set=images)  # type: ignore[arg-type]
        command[precision] = rebuild_command(result.file, result.manifest, current_machine())
    assert "--calibration" not in command["fp32"]
    assert f"--calibration {images}" in command["fp16"]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_corrupt_images_are_skipped_counted_and_recorded(precision: Precision, rtx: Flavour, tmp_path: Path):
    folder = image_folder(tmp_path / "images", count=5, corrupt=4)
    result = build(card_of(segmenter(tmp_path / "n.onnx")), precision, calibration_set=folder)
    assert result.manifest.precision["images_used"] == 5
    assert result.manifest.precision["images_skipped"] == 4
    (note,) = [note for note in result.manifest.precision["notes"] if note.startswith("skipped")]
    assert note.startswith("skipped 4 of 9 images: 05.png is no image that can be read; ")
    assert note.endswith("; and 1 more")


BUILD = """
import sys
from pathlib import Path
from avperception.engines.builder import BuildRequest, build_engine
from avperception.engines.options import CompilerOptions
from avperception.models.card_file import load_card
request = BuildRequest(load_card(Path(sys.argv[1])), sys.argv[2], CompilerOptions(targets=("8.6",)),
                       calibration_set=Path(sys.argv[3]))
build_engine(request, lambda stage, part: None)
"""


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_full_disk_of_temporary_files_is_one_clear_error(
    precision: str, rtx: Flavour, tmp_path: Path, images: Path, engines: Path
):
    card = card_of(segmenter(tmp_path / "n.onnx"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    def limit() -> None:  # no file may grow past this: to the program it is a disk that is full
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    result = subprocess.run(
        [sys.executable, "-c", BUILD, str(card.path), precision, str(images)], preexec_fn=limit,
        env={**os.environ, "TMPDIR": str(temporary)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("avperception.errors.EngineError: temporary files cannot be written to "), last
    assert "File too large: nothing was kept; free the disk, or set TMPDIR" in last
    assert list(temporary.iterdir()) == []
    assert [path.suffix for path in engines.iterdir()] == [".lock"]


def test_where_there_is_no_room_for_temporary_files_at_all(
    rtx: Flavour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    card = card_of(segmenter(tmp_path / "n.onnx"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    with pytest.raises(EngineError, match="absent: No such file or directory: nothing was kept"):
        build(card)
