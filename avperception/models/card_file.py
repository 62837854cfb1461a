"""Model cards as YAML files: read strictly, so that a slip of the pen is an error and not a wrong result."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from urllib.parse import urlsplit

from avperception.models.card import (
    BACKGROUND,
    Anchor,
    Colour,
    Decoder,
    DecoderSpec,
    InputSpec,
    ModelCard,
    Resize,
    Task,
)
from avperception.models.fields import Fields, read_mapping
from avperception.types import UNLABELLED

TASKS: tuple[Task, ...] = ("detection", "segmentation")
COLOURS: tuple[Colour, ...] = ("rgb", "bgr")
RESIZES: tuple[Resize, ...] = ("letterbox", "stretch")
ANCHORS: tuple[Anchor, ...] = ("top_left", "center")
DECODERS: dict[Task, tuple[Decoder, ...]] = {"detection": ("yolox",), "segmentation": ("argmax",)}

_NAME = "a name of letters, digits, '-', '_' and '.'"
_FILE = "the network's ONNX file, relative to the card, without '..', ending in .onnx"
_SHA256 = "64 lower-case hexadecimal digits, as `sha256sum` prints them"
_URL = "an https:// or http:// address of the ONNX file itself"
_TENSOR = "the name of a tensor of the ONNX file"
_CLASSES = "a list of class names in the network's own order, each once"
_SCALE = "a number above 0 that each pixel, 0 to 255, is multiplied with"
_PAD_VALUE = "a number from 0 to 255"
_MEAN = "three numbers, one a channel in the order of `colour`"
_STD = "three numbers above 0, one a channel in the order of `colour`"


def load_card(path: Path) -> ModelCard:
    """Read and check one model card.

    Raises ModelError in one line naming the file, the key and what is allowed there.
    """
    fields = read_mapping(path)
    task = fields.choice("task", TASKS)
    classes = _classes(fields, task)
    card = ModelCard(
        path=path.absolute(),
        name=_name(fields),
        file=_file(fields),
        sha256=_sha256(fields),
        source_url=_source_url(fields),
        licence=fields.text("licence", "the SPDX name of the network's licence, such as Apache-2.0"),
        task=task,
        input=_input(fields.section("input", "a mapping with the keys tensor, colour, resize, ...")),
        decoder=_decoder(fields.section("decoder", "a mapping with the key name, ..."), task, classes),
        classes=classes,
        lane_class=_lane_class(fields, classes) if task == "segmentation" else None,
    )
    fields.finish()
    return card


def _name(fields: Fields) -> str:
    name = fields.text("name", _NAME)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        fields.refuse("name", name, _NAME)
    return name


def _file(fields: Fields) -> str:
    file = fields.text("file", _FILE)
    parts = PurePosixPath(file).parts
    # The file is also where `pull` writes: a card from elsewhere must not point outside of its folder.
    if not file.endswith(".onnx") or "\\" in file or parts[0] in ("/", "//", "~") or ".." in parts:
        fields.refuse("file", file, _FILE)
    return file


def _sha256(fields: Fields) -> str:
    sha256 = fields.text("sha256", _SHA256)
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        fields.refuse("sha256", sha256, _SHA256)
    return sha256


def _source_url(fields: Fields) -> str | None:
    if "source_url" not in fields.keys:
        fields.allow("source_url")
        return None
    url = fields.text("source_url", _URL)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("https", "http") and bool(parts.hostname) and " " not in url
    except ValueError:  # such as a bracket that opens no IPv6 address
        usable = False
    if not usable or not url.isascii():
        fields.refuse("source_url", url, _URL)
    return url


def _classes(fields: Fields, task: Task) -> tuple[str, ...]:
    classes = fields.names("classes", _CLASSES)
    if task == "segmentation" and len(classes) > UNLABELLED:
        fields.refuse("classes", list(classes), f"at most {UNLABELLED} classes: a mask has 8 bits a pixel")
    return classes


def _input(fields: Fields) -> InputSpec:
    resize = fields.choice("resize", RESIZES)
    letterbox = resize == "letterbox"
    spec = InputSpec(
        tensor=fields.text("tensor", _TENSOR),
        colour=fields.choice("colour", COLOURS),
        resize=resize,
        anchor=fields.choice("anchor", ANCHORS) if letterbox else "top_left",
        pad_value=fields.number("pad_value", _PAD_VALUE, low=0, high=255) if letterbox else 0.0,
        mean=fields.triple("mean", _MEAN, default=(0, 0, 0)),
        std=fields.triple("std", _STD, default=(1, 1, 1), above=0),
        scale=fields.number("scale", _SCALE, default=1, above=0),
    )
    fields.finish()
    return spec


def _decoder(fields: Fields, task: Task, classes: tuple[str, ...]) -> DecoderSpec:
    name = fields.choice("name", DECODERS[task])
    outputs = {}
    if name == "yolox":
        outputs[fields.text("output", _TENSOR)] = classes
    else:
        section = fields.section("outputs", "a mapping of output tensors to lists of class names")
        for tensor in section.keys:
            outputs[tensor] = _channels(section, tensor, classes)
        if not outputs:
            fields.refuse("outputs", "{}", "a mapping of one or more output tensors to lists of class names")
        _refuse_unused_classes(fields, outputs, classes)
    fields.finish()
    return DecoderSpec(name, MappingProxyType(outputs))


def _channels(section: Fields, tensor: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    allowed = "a list of names out of `classes`, one a channel of the tensor, each once"
    channels = section.names(tensor, allowed)
    for channel in channels:
        if channel not in classes:
            section.refuse(tensor, channel, f"{allowed}: {', '.join(classes)}")
    if len(channels) < 2:
        section.refuse(tensor, list(channels), f"{allowed}: two or more, or the argmax has no choice")
    return channels


def _refuse_unused_classes(
    fields: Fields, outputs: dict[str, tuple[str, ...]], classes: tuple[str, ...]
) -> None:
    used = {channel for channels in outputs.values() for channel in channels}
    for name in classes:
        if name not in used:
            allowed = f"tensors whose channels are all of `classes`; `{name}` is in none"
            fields.refuse("outputs", list(outputs), allowed)


def _lane_class(fields: Fields, classes: tuple[str, ...]) -> str | None:
    if "lane_class" not in fields.keys:
        fields.allow("lane_class")
        return None
    things = tuple(name for name in classes if name != BACKGROUND)
    return fields.choice("lane_class", things)
