from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from avperception.engines import TensorSpec, load_engine
from avperception.errors import ModelError
from avperception.models import DecoderSpec, ModelCard, check_network, find_card

YOLOX = {"images": (1, 3, 416, 416)}, {"output": (1, 3549, 85)}
TWINLITENET = {"images": (1, 3, 360, 640)}, {"da": (1, 2, 360, 640), "ll": (1, 2, 360, 640)}


@dataclass
class Described:
    """The tensors of an engine, which is all that the check looks at."""

    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    description: str = "described"
    create_context: Callable[[], None] = field(default=lambda: None)


def described(
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, ...]],
    input_type: str = "float32",
    output_type: str = "float32",
) -> Described:
    def specs(shapes: dict[str, tuple[int, ...]], dtype: str) -> dict[str, TensorSpec]:
        return {name: TensorSpec(name, shape, np.dtype(dtype)) for name, shape in shapes.items()}

    return Described(specs(inputs, input_type), specs(outputs, output_type))


@pytest.mark.parametrize("name", ["yolox_nano", "twinlitenet"])
def test_the_real_networks_are_as_their_cards_say(shared_dir: Path, name: str):
    card = find_card(name)
    check_network(card, load_engine(shared_dir / "models" / card.file))


def test_a_card_of_another_network_disagrees(shared_dir: Path):
    engine = load_engine(shared_dir / "models" / find_card("twinlitenet").file)
    with pytest.raises(ModelError) as caught:
        check_network(find_card("yolox_nano"), engine)
    assert "output `output` is not there, the network has `da`, `ll`" in str(caught.value)


def problem(card: ModelCard, engine: Described) -> str:
    with pytest.raises(ModelError) as caught:
        check_network(card, engine)
    text = str(caught.value)
    assert "\n" not in text
    assert str(card.path) in text
    assert card.file in text
    return text


@pytest.mark.parametrize(
    ("height", "width", "anchors"),
    # 8, 16, 32 of 416x416 and 640x384; 16, 32 of 320x320; 8 to 64 of 640x640
    [(416, 416, 3549), (384, 640, 5040), (320, 320, 500), (640, 640, 8500)],
)
def test_a_detector_of_any_size_and_class_count_fits(height: int, width: int, anchors: int):
    card = replace(find_card("yolox_nano"), classes=("car", "bus"))
    card = replace(card, decoder=DecoderSpec("yolox", {"output": card.classes}))
    check_network(card, described({"images": (1, 3, height, width)}, {"output": (1, anchors, 7)}))


def test_an_open_axis_fits_every_size():
    sizes = (-1, 3, -1, -1)
    check_network(find_card("yolox_nano"), described({"images": sizes}, {"output": (-1, -1, 85)}))
    twinlitenet = find_card("twinlitenet")
    outputs = dict.fromkeys(("da", "ll"), (-1, 2, -1, -1))
    check_network(twinlitenet, described({"images": sizes}, outputs))
    wrong = {**outputs, "ll": (-1, 3, -1, -1)}
    assert "`ll` is ?x3x?x?, not 1x2x?x? (2" in problem(twinlitenet, described({"images": sizes}, wrong))


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_pixels_as_they_are_may_go_in_as_any_type(dtype: str):
    check_network(find_card("yolox_nano"), described(*YOLOX, input_type=dtype))


@pytest.mark.parametrize(
    ("inputs", "outputs", "reason"),
    [
        ({"x": (1, 3, 416, 416)}, YOLOX[1], "input `images` is not there, the network has `x`"),
        ({**YOLOX[0], "extra": (1,)}, YOLOX[1], "input `extra` is one too many"),
        ({"images": (1, 416, 416, 3)}, YOLOX[1], "`images` is 1x416x416x3, not 1x3xHEIGHTxWIDTH"),
        ({"images": (2, 3, 416, 416)}, YOLOX[1], "`images` is 2x3x416x416, not 1x3xHEIGHTxWIDTH"),
        ({"images": ()}, YOLOX[1], "`images` is a scalar"),
        (YOLOX[0], {"out": (1, 3549, 85)}, "output `output` is not there, the network has `out`"),
        (YOLOX[0], {}, "output `output` is not there, the network has none"),
        (YOLOX[0], {"output": (1, 3549, 84)}, "1x3549x84, not 1xANCHORSx85 (5 + 80 classes"),
        (YOLOX[0], {"output": (3549, 85)}, "3549x85, not 1xANCHORSx85"),
        (YOLOX[0], {"output": (1, 3548, 85)}, "3548 anchor points"),
    ],
)
def test_a_detector_that_is_not_as_its_card_says(inputs: dict, outputs: dict, reason: str):
    assert reason in problem(find_card("yolox_nano"), described(inputs, outputs))


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        (
            {"da": (1, 3, 360, 640), "ll": (1, 2, 360, 640)},
            "`da` is 1x3x360x640, not 1x2x360x640 (2 channels",
        ),
        ({"da": (1, 2, 360, 640), "ll": (1, 2, 180, 320)}, "`ll` is 1x2x180x320, not 1x2x360x640"),
        ({"da": (1, 2, 360, 640)}, "`ll` is not there, the network has `da`"),
    ],
)
def test_a_segmenter_that_is_not_as_its_card_says(outputs: dict, reason: str):
    assert reason in problem(find_card("twinlitenet"), described(TWINLITENET[0], outputs))


def test_types_that_the_pipeline_cannot_use_are_refused():
    yolox, twinlitenet = find_card("yolox_nano"), find_card("twinlitenet")
    assert "input `images` holds int64" in problem(yolox, described(*YOLOX, input_type="int64"))
    assert "output `output` holds int64" in problem(yolox, described(*YOLOX, output_type="int64"))
    text = problem(twinlitenet, described(*TWINLITENET, input_type="uint8"))
    assert "uint8, which scale, mean and std of the card cannot be applied to" in text


def test_every_disagreement_is_said_at_once():
    text = problem(find_card("twinlitenet"), described({"x": (1, 3, 360, 640)}, {"y": (1, 2, 360, 640)}))
    for name in ("images", "da", "ll"):
        assert f"`{name}` is not there" in text
