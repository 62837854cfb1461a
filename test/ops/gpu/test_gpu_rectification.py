from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lenses import LENSES, K
from pixels import BAYER, COLOUR, GREY, encoded

from avperception.ops import cpu
from avperception.ops.placement import Placement, letterbox, stretch
from avperception.pipeline.device.stored import stored_bytes, stored_shape
from avperception.types import CameraModel, Image

GAIN = np.array([1 / 58.395, 0.017, 1.0], np.float32)
OFFSET = np.array([-2.1, 0.0, 3.5], np.float32)
SIZES = [(1920, 1080), (334, 78), (16, 10)]
TARGETS = [(640, 360), (97, 33)]
BENT = [name for name in LENSES if not name.startswith("pinhole")]


def rectification(lens: str, size: tuple[int, int]) -> cpu.Rectification:
    """Of a lens of `lenses`, its K brought to another size."""
    model, D = LENSES[lens]
    scale = np.diag([size[0] / 1280, size[1] / 720, 1.0])
    return cpu.Rectification(CameraModel(*size, scale @ K, np.array(D, float), model, "camera"))


def noise(width: int, height: int, encoding: str) -> Image:
    bgr = np.random.default_rng(width + height).integers(0, 256, (height, width, 3), np.uint8)
    return encoded(bgr, encoding, with_padding=encoding not in ("nv12", "nv21"))


def both(
    gpu: Any,
    cupy: Any,
    image: Image,
    placement: Placement,
    sampling: cpu.SamplingMap,
    target: tuple[int, int],
    colour: str = "rgb",
    dtype: Any = np.float32,
) -> tuple[np.ndarray, np.ndarray]:
    """The tensor as the host and as the GPU make it; a padding between two grey levels is kept as it is."""
    expected = np.full((1, 3, target[1], target[0]), 7, dtype)
    found = cupy.full(expected.shape, 9, dtype)
    how = {"colour": colour, "gain": GAIN, "offset": OFFSET, "pad_value": 114.25, "sampling": sampling}
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
    for lens, placement in (
        ("pincushion", stretch(size, target)),
        ("kitti barrel", letterbox(size, target, centred=True)),
    ):
        sampling = rectification(lens, size).sampling_map(placement)
        expected, found = both(gpu, cupy, image, placement, sampling, target)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("lens", BENT)
def test_every_lens_gives_the_tensor_of_the_reference(gpu: Any, cupy: Any, lens: str) -> None:
    image, placement = noise(640, 360, "rgb8"), letterbox((640, 360), (416, 416), centred=False)
    sampling = rectification(lens, (640, 360)).sampling_map(placement)
    expected, found = both(gpu, cupy, image, placement, sampling, (416, 416))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("encoding", [*BAYER, "rgb8", "mono16", "nv21"])
def test_maps_may_lead_anywhere_in_the_image(gpu: Any, cupy: Any, encoding: str) -> None:
    """No lens: every position, its last row and column, and none, in no order."""
    width, height, target = 18, 14, (61, 47)
    rng = np.random.default_rng(3)
    shape = target[::-1]
    x, y = rng.integers(0, width, shape), rng.integers(0, height, shape)
    right = np.where(x < width - 1, rng.integers(0, 32, shape), 0)
    down = np.where(y < height - 1, rng.integers(0, 32, shape), 0)
    corners = np.stack([x, y], axis=-1).astype(np.int16)
    corners[rng.uniform(size=shape) < 0.1] = -1
    sampling = cpu.SamplingMap(corners, (32 * down + right).astype(np.uint16))
    image = noise(width, height, encoding)
    expected, found = both(gpu, cupy, image, stretch((width, height), target), sampling, target)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_half_precision_and_both_orders_of_colours(gpu: Any, cupy: Any, colour: str) -> None:
    image, placement = noise(640, 480, "bgra8"), letterbox((640, 480), (416, 416), centred=False)
    sampling = rectification("fisheye", (640, 480)).sampling_map(placement)
    expected, found = both(gpu, cupy, image, placement, sampling, (416, 416), colour, np.float16)
    np.testing.assert_allclose(found.astype(float), expected.astype(float), rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize("lens", BENT)
@pytest.mark.parametrize("size", [*SIZES, (333, 77), (17, 5), (1, 1)])
@pytest.mark.parametrize("network", [(640, 360), (50, 31)])
def test_labels_come_back_through_the_lens(
    gpu: Any, cupy: Any, lens: str, size: tuple[int, int], network: tuple[int, int]
) -> None:
    labels = np.random.default_rng(1).integers(0, 256, network[::-1], np.uint8)
    for placement in (stretch(size, network), letterbox(size, network, centred=True)):
        label_map = rectification(lens, size).label_map(placement)
        found = gpu.distort_labels(cupy.asarray(labels), label_map)
        np.testing.assert_array_equal(found.get(), cpu.distort_labels(labels, label_map))


def test_a_map_is_brought_to_the_gpu_once_and_goes_with_its_owner(gpu: Any, cupy: Any) -> None:
    from avperception.ops.gpu.rectification import on_gpu

    size = (1920, 1080)
    owner = rectification("fisheye", size)
    label_map = owner.label_map(stretch(size, (640, 360)))
    pool = cupy.get_default_memory_pool()
    before = pool.used_bytes()
    (first,), (second,) = on_gpu(label_map), on_gpu(label_map)
    assert first is second and pool.used_bytes() - before >= label_map.cells.nbytes
    del owner, label_map, first, second
    assert pool.used_bytes() == before
