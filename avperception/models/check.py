"""Whether a network is the one its card describes: tensor names, shapes, channels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from avperception.engines.engine import Engine, TensorSpec
from avperception.errors import ModelError
from avperception.models.card import ModelCard
from avperception.ops.cpu import yolox_strides

_IMAGE_TYPES = ("float32", "float16", "uint8")
_RESULT_TYPES = ("float32", "float16")


def check_network(card: ModelCard, engine: Engine) -> None:
    """Raise ModelError, with every disagreement in one line, if the engine's tensors are not the card's."""
    check_tensors(card, engine.inputs, engine.outputs)


def check_tensors(
    card: ModelCard, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]
) -> None:
    """Do the same for tensors by their names; an open axis, of size -1, fits every size."""
    problems = list(_problems(card, inputs, outputs))
    if problems:
        raise ModelError(
            f"the network {card.file} and the card {card.path} disagree: {'; '.join(problems)}: "
            "correct the card, or export the network anew"
        )


def _problems(
    card: ModelCard, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]
) -> Iterator[str]:
    spec = inputs.get(card.input.tensor)
    if spec is None:
        yield f"input `{card.input.tensor}` is not there, the network has {_names(inputs)}"
    else:
        yield from _input_problems(card, spec)
    for other in inputs:
        if other != card.input.tensor:
            yield f"input `{other}` is one too many: a network takes one image"
    for tensor, channels in card.decoder.outputs.items():
        output = outputs.get(tensor)
        if output is None:
            yield f"output `{tensor}` is not there, the network has {_names(outputs)}"
        elif output.dtype.name not in _RESULT_TYPES:
            yield f"output `{tensor}` holds {output.dtype.name}, not {' or '.join(_RESULT_TYPES)}"
        elif card.decoder.name == "yolox":
            yield from _yolox_problems(output, len(channels), spec)
        else:
            yield from _argmax_problems(output, len(channels), spec)


def _input_problems(card: ModelCard, spec: TensorSpec) -> Iterator[str]:
    if not _is_image(spec):
        yield f"input `{spec.name}` is {_shape(spec)}, not 1x3xHEIGHTxWIDTH"
    if spec.dtype.name not in _IMAGE_TYPES:
        yield f"input `{spec.name}` holds {spec.dtype.name}, not {', '.join(_IMAGE_TYPES)}"
    if spec.dtype == np.uint8 and not card.input.keeps_pixels:
        yield f"input `{spec.name}` holds uint8, which scale, mean and std of the card cannot be applied to"


def _yolox_problems(output: TensorSpec, classes: int, image: TensorSpec | None) -> Iterator[str]:
    expected = 5 + classes
    if not _fits(output.shape, (1, -1, expected)):
        yield (
            f"output `{output.name}` is {_shape(output)}, not 1xANCHORSx{expected} "
            f"(5 + {classes} classes of the card)"
        )
    elif image is not None and _is_image(image) and -1 not in (*image.shape[2:], output.shape[1]):
        _, _, height, width = image.shape
        try:
            yolox_strides(height, width, output.shape[1])
        except ModelError as error:
            yield f"output `{output.name}`: {error}"


def _argmax_problems(output: TensorSpec, channels: int, image: TensorSpec | None) -> Iterator[str]:
    size = image.shape[2:] if image is not None and _is_image(image) else output.shape[2:]
    if not _fits(output.shape, (1, channels, *size)):
        expected = _sizes((1, channels, *size))
        yield (
            f"output `{output.name}` is {_shape(output)}, not {expected} "
            f"({channels} channels of the card, at the input's size)"
        )


def _is_image(spec: TensorSpec) -> bool:
    return _fits(spec.shape, (1, 3, -1, -1))


def _fits(shape: Sequence[int], expected: Sequence[int]) -> bool:
    return len(shape) == len(expected) and all(
        size == wanted or -1 in (size, wanted) for size, wanted in zip(shape, expected, strict=True)
    )


def _shape(spec: TensorSpec) -> str:
    return _sizes(spec.shape) or "a scalar"


def _sizes(shape: Sequence[int]) -> str:
    return "x".join("?" if size < 0 else str(size) for size in shape)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
