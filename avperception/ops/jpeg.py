"""JPEG images: what their header says, and their pixels once somebody looks at them.

Markers and segments as in ITU-T T.81 (JPEG), annex B.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from avperception.errors import MessageError
from avperception.types import Image, UInt8

MAX_SIDE = 16384
"""Pixels along one side beyond which an image is taken for damaged."""

_START_OF_IMAGE = b"\xff\xd8"
_END_OF_IMAGE = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)
"""Start of frame: baseline, extended and progressive; others are lossless or arithmetic."""

_TAIL = 1024
"""Bytes at the end of a file in which its end is looked for first."""

_WITHOUT_LENGTH = (0x01, *range(0xD0, 0xD8))
_ADOBE = 0xEE
_RGB_IDS = b"RGB"
_ENCODINGS = {1: "mono8", 3: "bgr8"}


@dataclass(frozen=True)
class JpegHeader:
    """Size in pixels and `encoding` once decoded: `bgr8`, or `mono8` for a grey image."""

    width: int
    height: int
    encoding: str


class JpegImage(Image):
    """A JPEG image whose `data`, (height, width, 3) or (height, width), is decoded at the first look.

    `file` holds the bytes as they came. OpenCV decodes; an orientation in the EXIF data changes nothing,
    for a camera's calibration is that of the pixels as they lie. `data` raises MessageError `undecodable`.
    """

    file: UInt8

    def __init__(self, file: UInt8, header: JpegHeader, stamp_ns: int, frame_id: str) -> None:
        values = {
            "file": file,
            "encoding": header.encoding,
            "width": header.width,
            "height": header.height,
            "stamp_ns": stamp_ns,
            "frame_id": frame_id,
            "_pixels": None,
        }
        self.__dict__.update(values)  # the class is frozen

    def __repr__(self) -> str:
        return f"JpegImage({self.width}x{self.height} {self.encoding}, {self.file.size} bytes)"

    # No cached_property: before Python 3.12 it lets only one thread at a time decode.
    @property
    def data(self) -> UInt8:
        self.decode()
        pixels: UInt8 = self.__dict__["_pixels"]
        return pixels

    def decode(self) -> None:
        """Decode now, if that has not been done; raises MessageError `undecodable`."""
        if self.__dict__["_pixels"] is not None:
            return
        wanted = (self.height, self.width) if self.encoding == "mono8" else (self.height, self.width, 3)
        try:
            pixels = cv2.imdecode(self.file, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:  # a header that announces more pixels than OpenCV takes
            pixels = None
        if pixels is None or pixels.shape != wanted:
            raise MessageError("undecodable", f"the JPEG of {self.file.size} bytes is damaged")
        self.__dict__["_pixels"] = pixels


def read_header(file: UInt8) -> JpegHeader | None:
    """Read the header of a JPEG file of 8 bits a channel, grey or YCbCr; None for any other content.

    Raises MessageError `undecodable` for a file that is cut off.
    """
    content = file.data
    if bytes(content[:2]) != _START_OF_IMAGE:
        return None
    header = None
    place = 2
    while place + 4 <= len(content) and content[place] == 0xFF:
        kind = content[place + 1]
        if kind == 0xFF or kind in _WITHOUT_LENGTH:  # fill bytes; markers that stand alone
            place += 1 if kind == 0xFF else 2
            continue
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        segment = bytes(content[place + 4 : place + 2 + length])
        place += 2 + length
        if kind in _HUFFMAN_FRAMES:
            header = _frame_header(segment)
        elif kind == _ADOBE and segment[:5] == b"Adobe" and segment[11:12] == b"\x00":
            return None  # its three channels are red, green and blue
        elif kind == _START_OF_SCAN:
            _require_end(file, place)
            return header
    return None


def _require_end(file: UInt8, scan: int) -> None:
    # Within a scan 0xFF is never followed by 0xD9; some cameras add zeros after the end.
    for start in (max(scan, file.size - _TAIL), scan):
        if _END_OF_IMAGE in file[start:].tobytes():
            return
    raise MessageError("undecodable", f"the JPEG is cut off after {file.size} bytes: its end is missing")


def _frame_header(segment: bytes) -> JpegHeader | None:
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        return None
    precision, channels = segment[0], segment[5]
    height, width = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
    is_rgb = segment[6:15:3] == _RGB_IDS
    if precision != 8 or channels not in _ENCODINGS or is_rgb:
        return None
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        return None
    return JpegHeader(width, height, _ENCODINGS[channels])
