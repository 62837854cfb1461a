"""JPEG headers and pixels, against files that OpenCV and Pillow write."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avperception.errors import MessageError
from avperception.ops.jpeg import MAX_SIDE, JpegHeader, JpegImage, read_header

UInt8 = NDArray[np.uint8]

FLAT = np.full((24, 40, 3), (30, 120, 200), np.uint8)


def smooth(height: int, width: int, channels: int = 3, seed: int = 0) -> UInt8:
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, channels), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def file_of(pixels: UInt8, *parameters: int) -> UInt8:
    return cv2.imencode(".jpg", pixels, list(parameters))[1]


def with_segment(file: UInt8, marker: int, content: bytes) -> UInt8:
    """The file with one more segment behind its first two bytes."""
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
    return np.frombuffer(file[:2].tobytes() + segment + file[2:].tobytes(), np.uint8)


def exif(orientation: int) -> bytes:
    """EXIF data, little endian, whose only entry is the orientation (tag 0x0112, one SHORT)."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)


def image_of(file: UInt8) -> JpegImage:
    header = read_header(file)
    assert header is not None
    return JpegImage(file, header, 5, "front_camera_optical")


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([1, 3]), st.booleans())
@settings(max_examples=40, deadline=None)
def test_size_and_encoding_are_those_of_the_pixels(height: int, width: int, channels: int, progressive: bool):
    pixels = smooth(height, width, channels).reshape(height, width, channels)
    header = read_header(file_of(pixels, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)))
    assert header is not None
    assert (header.width, header.height) == (width, height)
    assert header.encoding == {1: "mono8", 3: "bgr8"}[channels]


def test_pixels_are_those_that_were_written():
    pixels = smooth(48, 64)
    image = image_of(file_of(pixels, cv2.IMWRITE_JPEG_QUALITY, 95))
    assert image.data.shape == pixels.shape
    assert np.abs(image.data.astype(int) - pixels).mean() < 2.0
    assert (image.stamp_ns, image.frame_id) == (5, "front_camera_optical")


def test_a_grey_image_has_two_dimensions():
    assert image_of(file_of(smooth(16, 30, 1))).data.shape == (16, 30)


def test_nothing_is_decoded_before_the_first_look_and_that_once():
    file = padded(file_of(FLAT))
    image = image_of(file)
    file[:] = padded(file_of(255 - FLAT))
    np.testing.assert_allclose(image.data[10, 10], 255 - FLAT[10, 10], atol=4)
    file[:] = 0
    assert image.data is image.data


def padded(file: UInt8) -> UInt8:
    return np.concatenate([file, np.zeros(5000 - len(file), np.uint8)])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_turns_nothing(orientation: int):
    pixels = smooth(24, 40)
    file = file_of(pixels)
    image = image_of(with_segment(file, 0xE1, exif(orientation)))
    assert (image.width, image.height) == (40, 24)
    np.testing.assert_array_equal(image.data, image_of(file).data)


def test_a_thumbnail_within_is_not_taken_for_the_image():
    thumbnail = file_of(smooth(8, 8)).tobytes()
    header = read_header(with_segment(file_of(FLAT), 0xE1, b"Exif\0\0" + thumbnail))
    assert header is not None
    assert (header.width, header.height) == (40, 24)


@given(st.integers(0, 4000))
@settings(max_examples=60, deadline=None)
def test_a_file_that_is_cut_off_is_never_taken(length: int):
    file = file_of(smooth(60, 80))
    assert read_or_refused(file[: min(length, len(file) - 1)]) in (None, "undecodable")


def read_or_refused(file: UInt8) -> JpegHeader | str | None:
    """The header, or the reason why there is none."""
    try:
        return read_header(file)
    except MessageError as error:
        return error.reason


@pytest.mark.parametrize("count", [1, 100, 5000])
def test_zeros_behind_the_end_do_no_harm(count: int):
    file = file_of(FLAT)
    image = image_of(np.concatenate([file, np.zeros(count, np.uint8)]))
    np.testing.assert_array_equal(image.data, image_of(file).data)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_with_the_reason(content: bytes):
    for file in (content, b"\xff\xd8" + content, b"\xff\xd8\xff" + content):
        found = read_or_refused(np.frombuffer(file, np.uint8))
        assert isinstance(found, JpegHeader) or found in (None, "undecodable")


def test_what_is_no_plain_jpeg_is_left_to_others():
    assert read_header(cv2.imencode(".png", FLAT)[1]) is None
    assert read_header(np.zeros(0, np.uint8)) is None


def test_channels_that_are_no_ycbcr_are_left_to_others():
    pillow = pytest.importorskip("PIL.Image", reason="Pillow writes the files of this test")
    for mode, options in (("CMYK", {}), ("RGB", {"keep_rgb": True})):
        file = io.BytesIO()
        pillow.fromarray(np.ascontiguousarray(FLAT)).convert(mode).save(file, "JPEG", **options)
        assert read_header(np.frombuffer(file.getvalue(), np.uint8)) is None


@pytest.mark.parametrize("sides", [(0, 40), (24, 0), (MAX_SIDE + 1, 40), (24, MAX_SIDE + 1)])
def test_a_size_that_cannot_be_is_left_to_others(sides: tuple[int, int]):
    assert read_header(with_size(file_of(FLAT), *sides)) is None


def test_a_header_that_lies_is_noticed_when_the_pixels_are_looked_at():
    image = image_of(with_channels_lost(file_of(FLAT)))
    with pytest.raises(MessageError) as caught:
        image.decode()
    assert caught.value.reason == "undecodable"


def with_size(file: UInt8, height: int, width: int) -> UInt8:
    """The file with another size in its header."""
    changed = file.copy()
    place = frame_place(file)
    changed[place + 5 : place + 9] = np.frombuffer(struct.pack(">HH", height, width), np.uint8)
    return changed


def with_channels_lost(file: UInt8) -> UInt8:
    """The file with a frame header that announces tables which it does not hold."""
    changed = file.copy()
    changed[frame_place(file) + 12] = 3  # the quantization table of the first channel
    return changed


def frame_place(file: UInt8) -> int:
    return file.tobytes().index(b"\xff\xc0")
