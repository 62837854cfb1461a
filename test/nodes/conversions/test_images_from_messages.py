import struct
import zlib
from array import array
from contextlib import suppress

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image

from avperception.errors import MessageError
from avperception.nodes.conversions.images import image_from_compressed, image_from_message, image_message
from avperception.ops.encodings import PIXEL_FORMATS
from avperception.ops.jpeg import JpegImage

SUPPORTED = [
    *("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16", "yuv422_yuy2", "uyvy", "nv12", "nv21"),
    *("bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8"),
]
"""What ros_interface.md promises to read."""

BYTES_PER_COLUMN = {
    **dict.fromkeys(("rgb8", "bgr8"), 3),
    **dict.fromkeys(("rgba8", "bgra8"), 4),
    **dict.fromkeys(("mono16", "yuv422_yuy2", "uyvy"), 2),
}
"""Of one row of memory, after sensor_msgs/image_encodings.hpp; 1 for all others."""


def rows_of(encoding: str, height: int) -> int:
    return height * 3 // 2 if encoding in ("nv12", "nv21") else height


def make(
    encoding: str = "bgr8", width: int = 6, height: int = 4, padding: int = 0, **changes: object
) -> Image:
    """A valid message of random bytes, with some fields changed afterwards."""
    step = width * BYTES_PER_COLUMN.get(encoding, 1) + padding
    size = step * rows_of(encoding, height)
    pixels = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    message = Image(
        encoding=encoding, width=width, height=height, step=step, data=array("B", pixels.tobytes())
    )
    message.header.stamp.sec, message.header.stamp.nanosec = 12, 345
    message.header.frame_id = "front_camera_optical"
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def reason(message: Image) -> str:
    with pytest.raises(MessageError) as caught:
        image_from_message(message)
    assert "\n" not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("encoding", SUPPORTED)
@pytest.mark.parametrize("padding", [0, 2, 58])
def test_every_promised_encoding_is_a_view_of_the_messages_own_bytes(encoding: str, padding: int):
    message = make(encoding, padding=padding)
    image = image_from_message(message)
    raw = np.frombuffer(message.data, np.uint8)
    assert np.shares_memory(image.data, raw)
    assert (image.width, image.height, image.encoding) == (6, 4, encoding)
    assert (image.stamp_ns, image.frame_id) == (12_000_000_345, "front_camera_optical")
    used = raw.reshape(rows_of(encoding, 4), message.step)[:, : message.step - padding]
    rows = [np.ascontiguousarray(row).tobytes() for row in image.data]
    assert rows == [row.tobytes() for row in used]
    assert image.data.dtype == (np.uint16 if encoding == "mono16" else np.uint8)


def test_the_promised_encodings_are_all_known():
    assert set(SUPPORTED) <= set(PIXEL_FORMATS)


@pytest.mark.parametrize("encoding", ["", "jpeg", "32FC1", "BGR8", "bayer_rggb16", "rgb16"])
def test_an_unknown_encoding(encoding: str):
    message = make()
    message.encoding = encoding
    assert reason(message) == "unknown_encoding"


def test_an_unknown_encoding_is_named_beside_the_known_ones():
    message = make()
    message.encoding = "32FC1"
    with pytest.raises(MessageError, match=r"'32FC1' is not one of .*bgr8"):
        image_from_message(message)


@pytest.mark.parametrize("encoding", SUPPORTED)
@pytest.mark.parametrize("difference", [-1, 1, -6, 1000])
def test_data_shorter_or_longer_than_its_rows(encoding: str, difference: int):
    message = make(encoding)
    size = len(message.data) + difference
    message.data = array("B", bytes(size))
    assert reason(message) == "wrong_data_size"


def test_no_data_at_all():
    assert reason(make(data=array("B"))) == "wrong_data_size"


@pytest.mark.parametrize(("width", "height"), [(0, 4), (6, 0), (0, 0), (2**31, 4), (6, 2**32 - 1)])
def test_a_size_of_zero_or_beyond_all_cameras(width: int, height: int):
    message = make()
    message.width, message.height = width, height
    assert reason(message) == "zero_size"


@pytest.mark.parametrize("encoding", ["yuv422_yuy2", "uyvy", "nv12", "nv21"])
def test_an_odd_width_where_pixels_share_their_colour(encoding: str):
    message = make(encoding, width=8)
    message.width = 7
    assert reason(message) == "odd_size"


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_an_odd_height_where_rows_share_their_colour(encoding: str):
    message = make(encoding)
    message.height = 3
    assert reason(message) == "odd_size"


@pytest.mark.parametrize("encoding", SUPPORTED)
@pytest.mark.parametrize("step", [0, 1, -1])
def test_a_step_shorter_than_a_row(encoding: str, step: int):
    message = make(encoding)
    message.step = step if step >= 0 else message.step - 1
    assert reason(message) == "wrong_step"


def test_a_step_that_splits_a_16_bit_pixel():
    message = make("mono16", padding=1)
    assert reason(message) == "wrong_step"


def test_big_endian_matters_for_16_bits_only():
    assert reason(make("mono16", is_bigendian=1)) == "big_endian"
    assert image_from_message(make("bgr8", is_bigendian=1)).width == 6


def test_a_zero_stamp():
    message = make()
    message.header.stamp.sec = message.header.stamp.nanosec = 0
    assert reason(message) == "zero_stamp"


uint32 = st.one_of(st.integers(0, 64), st.integers(0, 2**32 - 1))


@given(
    st.one_of(st.sampled_from(sorted(PIXEL_FORMATS)), st.text(max_size=12)),
    uint32,
    uint32,
    uint32,
    st.integers(0, 255),
    st.integers(0, 4096),
    st.integers(-(2**31), 2**31 - 1),
)
@settings(max_examples=120, deadline=None)
def test_random_fields_give_an_image_of_the_announced_size_or_a_reason(
    encoding: str, width: int, height: int, step: int, big: int, size: int, seconds: int
):
    message = Image(encoding=encoding, width=width, height=height, step=step, is_bigendian=big)
    message.data = array("B", bytes(size))
    message.header.stamp.sec = seconds
    with suppress(MessageError):
        image = image_from_message(message)
        assert image.data.shape[:2] == (rows_of(encoding, height), width)
        assert image.stamp_ns == seconds * 10**9


# -- compressed ---------------------------------------------------------------------------------------


def compressed(suffix: str, pixels: np.ndarray) -> CompressedImage:
    _, data = cv2.imencode(suffix, pixels)
    message = CompressedImage(format=f"bgr8; {suffix[1:]} compressed bgr8", data=array("B", data.tobytes()))
    message.header.stamp.sec = 3
    message.header.frame_id = "front_camera_optical"
    return message


@pytest.fixture
def gradient() -> np.ndarray:
    rows, columns = np.mgrid[0:48, 0:64]
    return np.stack([rows * 4, columns * 3, 255 - rows * 2 - columns], axis=2).astype(np.uint8)


def test_png_gives_the_very_pixels(gradient: np.ndarray):
    image = image_from_compressed(compressed(".png", gradient))
    assert (image.encoding, image.width, image.height) == ("bgr8", 64, 48)
    assert (image.stamp_ns, image.frame_id) == (3_000_000_000, "front_camera_optical")
    np.testing.assert_array_equal(image.data, gradient)


def test_jpeg_gives_nearly_the_pixels(gradient: np.ndarray):
    image = image_from_compressed(compressed(".jpg", gradient))
    assert np.abs(image.data.astype(int) - gradient).mean() < 2.0


def test_a_jpeg_is_not_decoded_before_it_must_be(gradient: np.ndarray):
    message = compressed(".jpg", gradient)
    image = image_from_compressed(message)
    assert isinstance(image, JpegImage)
    assert (image.encoding, image.width, image.height) == ("bgr8", 64, 48)
    assert (image.stamp_ns, image.frame_id) == (3_000_000_000, "front_camera_optical")
    assert image.file.tobytes() == message.data.tobytes()


def test_a_jpeg_that_is_cut_off(gradient: np.ndarray):
    message = compressed(".jpg", gradient)
    message.data = message.data[:-10]
    with pytest.raises(MessageError, match="cut off") as caught:
        image_from_compressed(message)
    assert caught.value.reason == "undecodable"


def test_a_grey_picture_is_mono8(gradient: np.ndarray):
    image = image_from_compressed(compressed(".png", gradient[:, :, 0]))
    assert image.encoding == "mono8"
    np.testing.assert_array_equal(image.data, gradient[:, :, 0])


def test_a_picture_with_transparency_loses_it(gradient: np.ndarray):
    with_alpha = np.dstack([gradient, np.full((48, 64), 7, np.uint8)])
    np.testing.assert_array_equal(image_from_compressed(compressed(".png", with_alpha)).data, gradient)


def test_16_bit_png_is_read_or_refused_with_its_reason():
    message = compressed(".png", np.full((8, 8), 40_000, np.uint16))
    with suppress(MessageError):
        assert image_from_compressed(message).data.dtype == np.uint8


def giant_png() -> bytes:
    """A sound PNG header that announces 2,000,000,000 pixels a side."""
    content = b"IHDR" + struct.pack(">IIBBBBB", 2_000_000_000, 2_000_000_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + content + struct.pack(">I", zlib.crc32(content))
    return b"\x89PNG\r\n\x1a\n" + chunk


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"not a picture at all", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", giant_png()],
    ids=["empty", "zero", "text", "JPEG magic", "PNG magic", "giant PNG"],
)
def test_what_is_no_picture(data: bytes):
    message = CompressedImage(format="jpeg", data=array("B", data))
    message.header.stamp.sec = 1
    with pytest.raises(MessageError) as caught:
        image_from_compressed(message)
    assert caught.value.reason == "undecodable"


def test_a_compressed_image_without_a_stamp(gradient: np.ndarray):
    message = compressed(".png", gradient)
    message.header.stamp.sec = 0
    with pytest.raises(MessageError) as caught:
        image_from_compressed(message)
    assert caught.value.reason == "zero_stamp"


@given(st.binary(max_size=200), st.integers(0, 1500), st.sampled_from([".png", ".jpg"]))
@settings(max_examples=40, deadline=None)
def test_damaged_pictures_are_decoded_or_refused_with_the_reason(junk: bytes, place: int, suffix: str):
    pixels = np.random.default_rng(1).integers(0, 255, (20, 20, 3), np.uint8)
    message = compressed(suffix, pixels)
    data = bytearray(message.data)
    data[place : place + len(junk)] = junk
    message.data = array("B", bytes(data))
    with suppress(MessageError):
        assert image_from_compressed(message).data.dtype == np.uint8


# -- back to a message --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "encoding", "step"), [((5, 7), "mono8", 7), ((5, 7, 3), "bgr8", 21), ((1, 1), "mono8", 1)]
)
def test_a_message_made_of_pixels_reads_back(shape: tuple[int, ...], encoding: str, step: int):
    pixels = np.random.default_rng(2).integers(0, 255, shape, np.uint8)
    message = image_message(pixels, encoding)
    assert (message.height, message.width, message.step, message.encoding) == (*shape[:2], step, encoding)
    message.header.stamp.sec = 1
    np.testing.assert_array_equal(image_from_message(message).data, pixels)


def test_a_message_of_pixels_that_do_not_lie_in_one_piece():
    pixels = np.arange(400, dtype=np.uint32).astype(np.uint8).reshape(20, 20)[::2, ::3]
    message = image_message(pixels, "mono8")
    message.header.stamp.sec = 1
    np.testing.assert_array_equal(image_from_message(message).data, pixels)
