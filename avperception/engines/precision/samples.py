"""Images as a network's input, put there exactly as the pipeline does it at run time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

from avperception.engines.precision.network_file import network_inputs
from avperception.errors import EngineError
from avperception.models.card import ModelCard
from avperception.ops import cpu
from avperception.ops.placement import letterbox, stretch
from avperception.types import Image

NOISE_IMAGES = 6
PICTURES = range(3, NOISE_IMAGES)
"""Those of them that are like photographs; the others are extremes."""


class InputMaker:
    """Makes a network's input array, (1, 3, height, width), of any image as its card asks for it.

    `shape` is that of the array where the network leaves axes open; a batch holds its image several times.
    """

    def __init__(
        self, card: ModelCard, model: ModelProto, path: Path, shape: tuple[int, ...] | None = None
    ) -> None:
        self._spec = card.input
        tensor = next((t for t in network_inputs(model) if t.name == card.input.tensor), None)
        if tensor is None:
            raise EngineError(
                f"{path} has no input `{card.input.tensor}`, which the card {card.path} names: "
                f"run `avperception models check {card.name}`"
            )
        self._shape = shape or tuple(axis.dim_value for axis in tensor.type.tensor_type.shape.dim)
        if len(self._shape) != 4:
            raise EngineError(f"{path}: input `{tensor.name}` is no image of shape 1x3xHEIGHTxWIDTH")
        self._dtype = helper.tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type)
        std = np.asarray(self._spec.std, dtype=np.float32)
        self._gain = np.float32(self._spec.scale) / std
        self._offset = -np.asarray(self._spec.mean, dtype=np.float32) / std

    @property
    def name(self) -> str:
        """Name of the input tensor."""
        return self._spec.tensor

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the network's input in pixels."""
        return self._shape[3], self._shape[2]

    def __call__(self, image: Image) -> NDArray[Any]:
        """Make the input array of one image."""
        source = (image.width, image.height)
        if self._spec.resize == "stretch":
            placement = stretch(source, self.size)
        else:
            placement = letterbox(source, self.size, centred=self._spec.anchor == "center")
        tensor = np.empty(self._shape, dtype=self._dtype)
        cpu.preprocess(
            image,
            tensor[:1],
            placement,
            colour=self._spec.colour,
            gain=self._gain,
            offset=self._offset,
            pad_value=self._spec.pad_value,
        )
        tensor[1:] = tensor[:1]
        return tensor

    def all(self, images: Iterable[Image]) -> Iterator[NDArray[Any]]:
        """Make the input arrays of images, one at a time."""
        return (self(image) for image in images)


def noise_images(width: int, height: int) -> Iterator[Image]:
    """Pictures that stand in for a calibration set: black, white, a ramp, and noise; always the same.

    The noise has the statistics of photographs, an amplitude that falls with the frequency (Field, Journal of
    the Optical Society of America A, 1987): white noise hides where FP16 hurts on photographs.
    """
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, width, dtype=np.float32)[None, :, None]
    yield _image(np.zeros((height, width, 3), np.uint8))
    yield _image(np.full((height, width, 3), 255, np.uint8))
    yield _image(np.broadcast_to(ramp, (height, width, 3)).astype(np.uint8))
    for _ in PICTURES:
        yield _image(_natural_noise(width, height, rng))


def _natural_noise(width: int, height: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Random pixels (height, width, 3) in octaves, from two patches across the longer side to one a pixel."""
    longer = max(width, height)
    pixels = np.full((height, width, 3), 127.5, np.float32)
    for patches in 2 ** np.arange(1, int(np.log2(longer)) + 1):
        shape = (-(-height * patches // longer), -(-width * patches // longer), 3)
        patchwork = rng.normal(0.0, 60.0 / np.sqrt(patches), shape).astype(np.float32)
        pixels += cv2.resize(patchwork, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _image(pixels: NDArray[np.uint8]) -> Image:
    height, width = pixels.shape[:2]
    return Image(pixels, "bgr8", width, height, 0, "noise")
