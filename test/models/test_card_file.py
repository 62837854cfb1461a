import copy
import hashlib
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from avperception.errors import ModelError
from avperception.models import load_card
from avperception.models.library import card_directories

DETECTOR = {
    "name": "signs",
    "file": "signs.onnx",
    "sha256": hashlib.sha256(b"signs").hexdigest(),
    "source_url": "https://example.org/signs.onnx",
    "licence": "MIT",
    "task": "detection",
    "input": {
        "tensor": "images",
        "colour": "rgb",
        "resize": "letterbox",
        "anchor": "center",
        "pad_value": 114,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "scale": 0.25,
    },
    "decoder": {"name": "yolox", "output": "output"},
    "classes": ["stop", "yield", "no"],
}
SEGMENTER = {
    **{key: DETECTOR[key] for key in ("name", "file", "sha256", "licence")},
    "task": "segmentation",
    "input": {"tensor": "image", "colour": "bgr", "resize": "stretch"},
    "decoder": {
        "name": "argmax",
        "outputs": {"road": ["background", "road"], "line": ["background", "line"]},
    },
    "classes": ["background", "road", "line"],
    "lane_class": "line",
}


def written(folder: Path, content: object) -> Path:
    path = folder / "signs.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return path


def changed(card: dict, key: str, value: object) -> dict:
    """The card with one key, dotted for a nested one, set to a value, or removed if that is `...`."""
    card = copy.deepcopy(card)
    *parents, last = key.split(".")
    mapping = card
    for parent in parents:
        mapping = mapping[parent]
    if value is ...:
        del mapping[last]
    else:
        mapping[last] = value
    return card


def complaint(folder: Path, content: object) -> str:
    path = written(folder, content)
    with pytest.raises(ModelError) as caught:
        load_card(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_a_detector_card_says_what_was_written(tmp_path):
    card = load_card(written(tmp_path, DETECTOR))
    assert card.path == tmp_path / "signs.yaml"
    assert (card.name, card.file, card.licence, card.task) == ("signs", "signs.onnx", "MIT", "detection")
    assert card.source_url == DETECTOR["source_url"]
    assert (card.input.colour, card.input.resize, card.input.anchor) == ("rgb", "letterbox", "center")
    assert (card.input.pad_value, card.input.scale) == (114.0, 0.25)
    assert card.input.mean == (0.485, 0.456, 0.406)
    assert card.input.std == (0.229, 0.224, 0.225)
    assert not card.input.keeps_pixels
    assert card.decoder.output == "output"
    assert card.classes == ("stop", "yield", "no")
    assert card.lane_class is None


def test_a_segmenter_card_keeps_the_order_of_its_outputs(tmp_path):
    card = load_card(written(tmp_path, SEGMENTER))
    assert list(card.decoder.outputs.items()) == [
        ("road", ("background", "road")),
        ("line", ("background", "line")),
    ]
    assert card.lane_class == "line"
    assert card.source_url is None
    assert card.input.keeps_pixels


def test_a_class_named_no_stays_a_name(tmp_path):
    # Plain YAML makes a boolean of it.
    text = yaml.safe_dump(changed(DETECTOR, "classes", ...)) + "classes: [no, 1e10, null, 5]\n"
    assert load_card(written(tmp_path, text)).classes == ("no", "1e10", "null", "5")


@pytest.mark.parametrize("card", [DETECTOR, SEGMENTER], ids=["detector", "segmenter"])
@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("name", "a b", "letters"),
        ("name", "../up", "letters"),
        ("name", ["signs"], "letters"),
        ("file", "/etc/signs.onnx", "relative"),
        ("file", "../signs.onnx", "relative"),
        ("file", "~/signs.onnx", "relative"),
        ("file", "signs.engine", ".onnx"),
        ("sha256", "abc", "64"),
        ("sha256", "A" * 64, "64 lower-case"),
        ("sha256", {"sha": "256"}, "64"),
        ("source_url", "file:///etc/passwd", "https://"),
        ("source_url", "https://", "https://"),
        ("source_url", "https://[::1/a.onnx", "https://"),
        ("source_url", "", "https://"),
        ("licence", "", "SPDX"),
        ("licence", "MIT\nApache-2.0", "SPDX"),
        ("task", "tracking", "detection or segmentation"),
        ("input", "images", "a mapping"),
        ("input", ["images"], "a mapping"),
        ("input.tensor", "", "tensor"),
        ("input.colour", "gbr", "rgb or bgr"),
        ("input.resize", "crop", "letterbox or stretch"),
        ("input.mean", [0, 0], "three numbers"),
        ("input.mean", [0, 0, "x"], "three numbers"),
        ("input.mean", 0.5, "three numbers"),
        ("input.std", [1, 0, 1], "above 0"),
        ("input.scale", 0, "above 0"),
        ("input.scale", -1, "above 0"),
        ("input.scale", float("nan"), "above 0"),
        ("input.scale", float("inf"), "above 0"),
        ("decoder", None, "a mapping"),
        ("decoder.name", "ssd", "it must be "),
        ("classes", [], "class names"),
        ("classes", "car", "class names"),
        ("classes", ["car", "car"], "each once"),
        ("classes", ["car", ["bus"]], "class names"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_what_is_allowed(tmp_path, card, key, value, allowed):
    text = complaint(tmp_path, changed(card, key, value))
    assert f"`{key}`" in text
    assert allowed in text


@pytest.mark.parametrize(
    ("card", "key", "value", "allowed"),
    [
        (DETECTOR, "input.anchor", "left", "top_left or center"),
        (DETECTOR, "input.pad_value", 256, "0 to 255"),
        (DETECTOR, "input.pad_value", "grey", "0 to 255"),
        (DETECTOR, "decoder.output", ["a", "b"], "tensor"),
        (DETECTOR, "decoder.name", "argmax", "it must be yolox"),
        (SEGMENTER, "decoder.name", "yolox", "it must be argmax"),
        (SEGMENTER, "decoder.outputs", {}, "one or more"),
        (SEGMENTER, "decoder.outputs", {"road": ["background", "road", "line", "kerb"]}, "out of `classes`"),
        (SEGMENTER, "decoder.outputs", {"road": ["road"]}, "two or more"),
        (SEGMENTER, "decoder.outputs", {"road": ["background", "road"]}, "`line` is in none"),
        (SEGMENTER, "lane_class", "kerb", "road or line"),
        (SEGMENTER, "lane_class", "background", "road or line"),
        (SEGMENTER, "classes", [f"class {number}" for number in range(256)], "at most 255"),
    ],
)
def test_what_belongs_together_has_to_fit_together(tmp_path, card, key, value, allowed):
    text = complaint(tmp_path, changed(card, key, value))
    assert f"`{key}" in text
    assert allowed in text


OPTIONAL = {"source_url", "input.mean", "input.std", "input.scale", "lane_class"}


def keys_of(card: dict, parent: str = "") -> list[str]:
    keys = [parent + key for key in card]
    nested = [key for key in ("input", "decoder") if key in card]
    return keys + [inner for key in nested for inner in keys_of(card[key], f"{key}.")]


@pytest.mark.parametrize(
    ("card", "key"), [(card, key) for card in (DETECTOR, SEGMENTER) for key in keys_of(card)]
)
def test_a_missing_key_is_named_unless_it_has_a_default(tmp_path, card, key):
    content = changed(card, key, ...)
    if key in OPTIONAL:
        load_card(written(tmp_path, content))
    else:
        assert f"key `{key}` is missing: it must be" in complaint(tmp_path, content)


@pytest.mark.parametrize(
    ("card", "key"),
    [
        (DETECTOR, "license"),
        (DETECTOR, "input.color"),
        (DETECTOR, "decoder.outputs"),
        (DETECTOR, "lane_class"),
        (SEGMENTER, "decoder.output"),
        (SEGMENTER, "input.anchor"),
        (SEGMENTER, "input.pad_value"),
    ],
)
def test_an_unknown_key_is_named_with_the_known_ones(tmp_path, card, key):
    text = complaint(tmp_path, changed(card, key, "center"))
    assert f"key `{key}` is unknown: allowed here are " in text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must be a mapping"),
        ("just words", "must be a mapping"),
        ("- a\n- b", "must be a mapping"),
        ("name: a\nname: b", "line 2: not valid YAML: key `name` is there twice"),
        ("name: [a", "line 1: not valid YAML"),
        ("name: a\n\tfile: b", "line 2: not valid YAML"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
        ("&a [*a]", "not valid YAML"),
        ("? [a]\n: b", "a key is not text"),
        ("name: \x00", "not valid YAML"),
        ("[" * 5000, "nested too deeply"),
        ("name: !!python/object/apply:os.system ['true']", "key `task` is missing"),
    ],
)
def test_text_that_is_no_card_is_refused_with_the_place(tmp_path, text, reason):
    assert reason in complaint(tmp_path, text)


def test_a_file_that_cannot_be_read_is_an_error_of_one_line(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"name: \xff\xfe")
    for path in (tmp_path / "absent.yaml", tmp_path, tmp_path / "binary.yaml"):
        with pytest.raises(ModelError, match=r"^model card .*(cannot be read|not UTF-8)"):
            load_card(path)


def load_text(text: str) -> object:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            return load_card(path)
        except ModelError as error:
            complaint = str(error)
    assert "\n" not in complaint
    assert str(path) in complaint
    return None


@given(st.text(max_size=200))
def test_any_text_is_a_card_or_a_model_error(text):
    load_text(text)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from([DETECTOR, SEGMENTER]), st.data())
@settings(max_examples=200)
def test_any_value_at_any_key_is_a_card_or_a_model_error(card, data):
    key = data.draw(st.sampled_from(keys_of(card)))
    load_text(yaml.safe_dump(changed(card, key, data.draw(JUNK)), allow_unicode=True))


LINES = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x24F, exclude_categories=["Cc", "Cf", "Zs"]), min_size=1
)
NUMBERS = st.floats(-1e6, 1e6)


@given(
    classes=st.lists(LINES, min_size=1, max_size=20, unique=True),
    tensor=LINES,
    mean=st.tuples(NUMBERS, NUMBERS, NUMBERS),
    pad_value=st.floats(0, 255),
    scale=st.floats(1e-6, 1e6),
)
def test_what_is_written_is_what_is_read(classes, tensor, mean, pad_value, scale):
    content = changed(DETECTOR, "classes", classes)
    content["input"].update(tensor=tensor, mean=list(mean), pad_value=pad_value, scale=scale)
    card = load_text(yaml.safe_dump(content, allow_unicode=True))
    assert card.classes == tuple(classes)
    assert card.input.tensor == tensor
    assert card.input.mean == mean
    assert (card.input.pad_value, card.input.scale) == (pad_value, scale)


def test_the_shipped_cards_are_those_of_the_networks(shared_dir):
    shared_models = shared_dir / "models"
    cards = {path.stem: load_card(path) for path in card_directories()[0].glob("*.yaml")}
    yolox, twinlitenet = cards["yolox_nano"], cards["twinlitenet"]
    assert yolox.classes == tuple((shared_models / "coco_classes.txt").read_text().splitlines())
    assert (yolox.input.colour, yolox.input.anchor, yolox.input.pad_value) == ("bgr", "top_left", 114)
    assert yolox.input.keeps_pixels
    assert twinlitenet.classes == ("background", "drivable_area", "lane_line")
    assert (twinlitenet.input.colour, twinlitenet.input.resize) == ("rgb", "stretch")
    assert twinlitenet.input.scale == 1 / 255
    readme = (shared_models / "README.md").read_text()
    for card in (yolox, twinlitenet):
        assert f"| {card.file} | {card.sha256} |" in readme
        assert hashlib.sha256((shared_models / card.file).read_bytes()).hexdigest() == card.sha256
