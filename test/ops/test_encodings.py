import numpy as np
import pytest
from pixels import BAYER, BAYER_FIRST_ROWS, COLOUR, EXACT, GREY, YUV, blocks, encode, encoded

from avperception.ops import cpu
from avperception.ops.encodings import PIXEL_FORMATS

ENCODINGS = COLOUR + GREY


def test_every_known_encoding_is_tested_here() -> None:
    assert set(PIXEL_FORMATS) == set(ENCODINGS)


@pytest.mark.parametrize("encoding", EXACT)
def test_interleaved_colours_are_kept_to_the_bit(encoding: str) -> None:
    bgr = blocks(12, 16)

    np.testing.assert_array_equal(cpu.to_bgr(encoded(bgr, encoding)), bgr)


@pytest.mark.parametrize("encoding", GREY)
def test_grey_fills_all_channels_with_the_upper_eight_bits(encoding: str) -> None:
    bgr = blocks(12, 16)

    converted = cpu.to_bgr(encoded(bgr, encoding))

    np.testing.assert_array_equal(converted, np.repeat(bgr[..., 1:2], 3, axis=2))


@pytest.mark.parametrize("encoding", YUV)
def test_yuv_is_studio_range_bt601_in_the_order_of_its_name(encoding: str) -> None:
    bgr = blocks(12, 16)

    converted = cpu.to_bgr(encoded(bgr, encoding))

    assert np.abs(converted.astype(int) - bgr).max() <= 3


@pytest.mark.parametrize("encoding", BAYER)
def test_bayer_colours_lie_where_the_name_says(encoding: str) -> None:
    uniform = np.tile(np.array([40, 110, 210], np.uint8), (8, 10, 1))

    np.testing.assert_array_equal(cpu.to_bgr(encoded(uniform, encoding)), uniform)


@pytest.mark.parametrize("encoding", BAYER)
def test_bayer_keeps_colour_gradients(encoding: str) -> None:
    rows, columns = np.mgrid[0:32, 0:40]
    bgr = np.stack([4 * columns, 120 + rows, 250 - 5 * rows], axis=-1).astype(np.uint8)

    converted = cpu.to_bgr(encoded(bgr, encoding))

    assert np.abs(converted.astype(int) - bgr)[2:-2, 2:-2].max() <= 3


def test_bayer_patterns_differ() -> None:
    """A sanity check of the mosaics: a red scene lights the pixels called r and no other."""
    red = np.tile(np.array([0, 0, 255], np.uint8), (4, 4, 1))
    for encoding, colours in BAYER_FIRST_ROWS.items():
        lit = encode(red, encoding)[:2, :2].ravel() == 255
        assert [c for c, is_lit in zip(colours, lit, strict=True) if is_lit] == ["r"]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_padded_rows_change_nothing(encoding: str) -> None:
    bgr = blocks(12, 16, seed=3)

    np.testing.assert_array_equal(
        cpu.to_bgr(encoded(bgr, encoding, with_padding=True)), cpu.to_bgr(encoded(bgr, encoding))
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_result_is_the_callers_own(encoding: str) -> None:
    image = encoded(blocks(12, 16), encoding)
    before = image.data.copy()

    converted = cpu.to_bgr(image)
    converted[...] = 0

    assert converted.flags.c_contiguous and converted.dtype == np.uint8 and converted.shape == (12, 16, 3)
    np.testing.assert_array_equal(image.data, before)


@pytest.mark.parametrize("encoding", EXACT + ("mono8",))
def test_eight_bit_interleaved_pixels_are_not_copied(encoding: str) -> None:
    image = encoded(blocks(12, 16), encoding, with_padding=True)

    array, _ = cpu.interleaved(image)

    assert np.shares_memory(array, image.data)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_stored_size_is_the_one_of_the_array(encoding: str) -> None:
    data = encode(blocks(12, 16), encoding)
    pixel_format = PIXEL_FORMATS[encoding]

    assert data.shape[0] == pixel_format.stored_rows(12)
    assert data[0].nbytes == 16 * pixel_format.bytes_per_column
    assert data.dtype == pixel_format.dtype
