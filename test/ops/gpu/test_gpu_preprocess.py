from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pixels import BAYER, COLOUR, GREY, encoded

from avperception.ops import cpu
from avperception.ops.placement import Placement, letterbox, stretch
from avperception.pipeline.device.stored import stored_bytes, stored_shape
from avperception.types import Image

GAIN = np.array([1 / 58.395, 0.017, 1.0], np.float32)
OFFSET = np.array([-2.1, 0.0, 3.5], np.float32)
SIZES = [(1920, 1080), (1242, 376), (334, 78), (16, 10)]
TARGETS = [(640, 360), (416, 416), (97, 33)]


def noise(width: int, height: int, encoding: str) -> Image:
    bgr = np.random.default_rng(width + height).integers(0, 256, (height, width, 3), np.uint8)
    return encoded(bgr, encoding, with_padding=encoding not in ("nv12", "nv21"))


def both(
    gpu: Any, cupy: Any, image: Image, placement: Placement, target: tuple[int, int], colour: str, dtype: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The tensor as the host and as the GPU make it."""
    expected = np.full((1, 3, target[1], target[0]), 7, dtype)
    found = cupy.full(expected.shape, 9, dtype)
    how = {"colour": colour, "gain": GAIN, "offset": OFFSET, "pad_value": 114.0}
    cpu.preprocess(image, expected, placement, **how)
    data = cupy.asarray(np.ascontiguousarray(stored_bytes(image, stored_shape(image))))
    gpu.preprocess(replace(image, data=data), found, placement, **how)
    return expected, found.get()


@pytest.mark.parametrize("encoding", [*COLOUR, *GREY])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", TARGETS)
def test_every_encoding_gives_the_tensor_of_the_reference(
    gpu: Any, cupy: Any, encoding: str, size: tuple[int, int], target: tuple[int, int]
) -> None:
    image = noise(*size, encoding)
    for placement in (stretch(size, target), letterbox(size, target, centred=True)):
        expected, found = both(gpu, cupy, image, placement, target, "rgb", np.float32)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_half_precision_and_both_orders_of_colours(gpu: Any, cupy: Any, colour: str) -> None:
    image = noise(640, 480, "bgra8")
    placement = letterbox((640, 480), (416, 416), centred=False)
    expected, found = both(gpu, cupy, image, placement, (416, 416), colour, np.float16)
    np.testing.assert_allclose(found.astype(float), expected.astype(float), rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize("encoding", [*BAYER, "rgb8"])
def test_the_smallest_images(gpu: Any, cupy: Any, encoding: str) -> None:
    image = noise(4, 4, encoding)
    expected, found = both(gpu, cupy, image, stretch((4, 4), (13, 9)), (13, 9), "rgb", np.float32)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("encoding", ["rgb8", "bgra8", "mono8", "mono16"])
@pytest.mark.parametrize("target", TARGETS)
def test_only_the_rows_that_are_sampled_need_be_there(
    gpu: Any, cupy: Any, encoding: str, target: tuple[int, int]
) -> None:
    size = (1920, 1080)
    image, placement = noise(*size, encoding), letterbox(size, target, centred=True)
    how = {"colour": "rgb", "gain": GAIN, "offset": OFFSET, "pad_value": 114.0}
    expected = np.zeros((1, 3, target[1], target[0]), np.float32)
    cpu.preprocess(image, expected, placement, **how)
    rows = cpu.rows_sampled(size[1], placement.height)
    data = cupy.asarray(np.ascontiguousarray(stored_bytes(image, stored_shape(image))[rows]))
    places = cupy.asarray(np.clip(np.searchsorted(rows, np.arange(size[1])), 0, len(rows) - 1), np.int32)
    found = cupy.zeros(expected.shape, np.float32)
    gpu.preprocess(
        gpu.PartialImage(**{**vars(image), "data": data, "places": places}), found, placement, **how
    )
    np.testing.assert_array_equal(found.get(), expected)
