import numpy as np
import pytest
from numpy.typing import NDArray
from pixels import COLOUR, EXACT, GREY, blocks, encoded

from avperception.ops import cpu
from avperception.ops.placement import Placement, letterbox, stretch
from avperception.types import Image

ONE = np.ones(3, np.float32)
NOTHING = np.zeros(3, np.float32)
PLACEMENTS = {
    "stretched": stretch((34, 22), (64, 48)),
    "stretched smaller": stretch((34, 22), (16, 16)),
    "top left": letterbox((34, 22), (48, 48), centred=False),
    "centred": letterbox((34, 22), (48, 48), centred=True),
    "same size": stretch((34, 22), (34, 22)),
}
TARGETS = dict.fromkeys(PLACEMENTS, (48, 48)) | {
    "stretched": (64, 48),
    "stretched smaller": (16, 16),
    "same size": (34, 22),
}


def bilinear(pixels: NDArray[np.generic], width: int, height: int) -> NDArray[np.float64]:
    """Each pixel from its four neighbours, pixel centres at half integers, the edge repeated."""
    rows, columns = pixels.shape[:2]
    result = np.empty((height, width, pixels.shape[2]))
    for y in range(height):
        for x in range(width):
            source_x = min(max((x + 0.5) * columns / width - 0.5, 0), columns - 1)
            source_y = min(max((y + 0.5) * rows / height - 0.5, 0), rows - 1)
            left, top = int(source_x), int(source_y)
            right, bottom = min(left + 1, columns - 1), min(top + 1, rows - 1)
            fx, fy = source_x - left, source_y - top
            above = (1 - fx) * pixels[top, left] + fx * pixels[top, right].astype(float)
            below = (1 - fx) * pixels[bottom, left] + fx * pixels[bottom, right].astype(float)
            result[y, x] = (1 - fy) * above + fy * below
    return result


def run(
    image: Image,
    placement: Placement,
    target: tuple[int, int],
    colour: str = "rgb",
    gain: NDArray[np.float32] = ONE,
    offset: NDArray[np.float32] = NOTHING,
    dtype: type = np.float32,
) -> NDArray[np.generic]:
    tensor = np.full((1, 3, target[1], target[0]), 99, dtype)
    cpu.preprocess(image, tensor, placement, colour=colour, gain=gain, offset=offset, pad_value=114.0)
    return tensor


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
@pytest.mark.parametrize("way", PLACEMENTS)
def test_resizing_is_bilinear_and_the_rest_is_padding(way: str, colour: str) -> None:
    bgr = blocks(22, 34, seed=5)
    placement, target = PLACEMENTS[way], TARGETS[way]

    tensor = run(encoded(bgr, "bgr8"), placement, target, colour)

    expected = np.full((3, target[1], target[0]), 114.0)
    resized = bilinear(bgr, placement.width, placement.height).transpose(2, 0, 1)
    rows = slice(placement.top, placement.top + placement.height)
    columns = slice(placement.left, placement.left + placement.width)
    expected[:, rows, columns] = resized if colour == "bgr" else resized[::-1]
    assert np.abs(tensor[0] - expected).max() <= 1


@pytest.mark.parametrize("way", ["stretched", "centred"])
def test_each_channel_and_the_padding_is_normalised(way: str) -> None:
    image = encoded(blocks(22, 34), "rgb8")
    gain = np.array([0.5, 0.25, 2.0], np.float32)
    offset = np.array([-3.0, 0.0, 7.0], np.float32)
    plain = run(image, PLACEMENTS[way], TARGETS[way])

    normalised = run(image, PLACEMENTS[way], TARGETS[way], gain=gain, offset=offset)

    expected = plain * gain[:, None, None] + offset[:, None, None]
    np.testing.assert_allclose(normalised, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("encoding", COLOUR + GREY)
def test_every_encoding_gives_what_its_colours_give(encoding: str) -> None:
    image = encoded(blocks(22, 34), encoding, with_padding=True)
    expected = run(encoded(cpu.to_bgr(image), "bgr8"), PLACEMENTS["centred"], (48, 48))

    tensor = run(image, PLACEMENTS["centred"], (48, 48))

    assert np.abs(tensor - expected).max() <= 1


def test_what_the_tensor_held_before_is_gone() -> None:
    tensor = run(encoded(blocks(22, 34), "bgr8"), PLACEMENTS["top left"], (48, 48), dtype=np.float32)
    again = tensor.copy()
    again[...] = np.nan

    cpu.preprocess(
        encoded(blocks(22, 34), "bgr8"),
        again,
        PLACEMENTS["top left"],
        colour="rgb",
        gain=ONE,
        offset=NOTHING,
        pad_value=114.0,
    )

    np.testing.assert_array_equal(again, tensor)


@pytest.mark.parametrize("encoding", EXACT)
def test_eight_bit_tensors_hold_the_pixels_themselves(encoding: str) -> None:
    image = encoded(blocks(22, 34), encoding)

    tensor = run(image, PLACEMENTS["centred"], (48, 48), dtype=np.uint8)

    np.testing.assert_array_equal(tensor, run(image, PLACEMENTS["centred"], (48, 48)))


def test_half_precision_tensors_are_close_to_single() -> None:
    image = encoded(blocks(22, 34), "bgr8")
    gain, offset = np.full(3, 1 / 58, np.float32), np.full(3, -2, np.float32)

    half = run(image, PLACEMENTS["centred"], (48, 48), gain=gain, offset=offset, dtype=np.float16)

    single = run(image, PLACEMENTS["centred"], (48, 48), gain=gain, offset=offset)
    np.testing.assert_allclose(half, single, atol=5e-3)


@pytest.mark.parametrize(("source", "target"), [(1080, 360), (1080, 234), (720, 360), (375, 126), (90, 200)])
def test_rows_that_are_not_sampled_make_no_difference(source: int, target: int) -> None:
    rows = cpu.rows_sampled(source, target)
    pixels = np.random.default_rng(source).integers(0, 256, (source, 16, 3), np.uint8)
    other = pixels.copy()
    left_out = np.setdiff1d(np.arange(source), rows)
    other[left_out] = 255 - other[left_out]
    images = [Image(data, "bgr8", 16, source, 1, "camera") for data in (pixels, other)]
    placement = stretch((16, source), (8, target))
    first, second = (run(image, placement, (8, target)) for image in images)
    np.testing.assert_array_equal(first, second)
    assert len(rows) == 360 if (source, target) == (1080, 360) else len(rows) <= min(source, 2 * target)
