"""The pixel formats the package reads: how their bytes lie, and how OpenCV turns them into colours.

Names follow `sensor_msgs/image_encodings.hpp`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from avperception.errors import MessageError
from avperception.ops.jpeg import JpegImage
from avperception.types import Image

BGR_ORDER = (0, 1, 2)
RGB_ORDER = (2, 1, 0)
GREY_ORDER = (0, 0, 0)


@dataclass(frozen=True)
class PixelFormat:
    """How one encoding is stored.

    `bgr_order` says which channels of the stored (or, after `conversion`, of the converted) array are
    blue, green and red. `conversion` is the OpenCV code that a format needs which is not interleaved
    colour at full resolution. A planar format has `rows_per_line` 1.5: half as many rows of chroma below.
    """

    dtype: np.dtype[Any]
    channels: int
    bgr_order: tuple[int, int, int] = BGR_ORDER
    conversion: int | None = None
    rows_per_line: float = 1.0
    even_width: bool = False

    def stored_rows(self, height: int) -> int:
        """Rows of memory that an image of `height` pixels takes."""
        return int(height * self.rows_per_line)

    @property
    def bytes_per_column(self) -> int:
        """Bytes that one pixel takes in a row of memory."""
        return int(self.dtype.itemsize * self.channels)


_BYTE = np.dtype(np.uint8)
_WORD = np.dtype(np.uint16)


def _bayer(conversion: int) -> PixelFormat:
    return PixelFormat(_BYTE, 1, conversion=conversion)


def _packed_yuv(conversion: int) -> PixelFormat:
    return PixelFormat(_BYTE, 2, conversion=conversion, even_width=True)


def _planar_yuv(conversion: int) -> PixelFormat:
    return PixelFormat(_BYTE, 1, conversion=conversion, rows_per_line=1.5, even_width=True)


PIXEL_FORMATS: dict[str, PixelFormat] = {
    "rgb8": PixelFormat(_BYTE, 3, RGB_ORDER),
    "bgr8": PixelFormat(_BYTE, 3),
    "8UC3": PixelFormat(_BYTE, 3),
    "rgba8": PixelFormat(_BYTE, 4, RGB_ORDER),
    "bgra8": PixelFormat(_BYTE, 4),
    "mono8": PixelFormat(_BYTE, 1, GREY_ORDER),
    "8UC1": PixelFormat(_BYTE, 1, GREY_ORDER),
    "mono16": PixelFormat(_WORD, 1, GREY_ORDER),
    "16UC1": PixelFormat(_WORD, 1, GREY_ORDER),
    "yuv422_yuy2": _packed_yuv(cv2.COLOR_YUV2BGR_YUY2),
    "yuyv": _packed_yuv(cv2.COLOR_YUV2BGR_YUY2),
    "uyvy": _packed_yuv(cv2.COLOR_YUV2BGR_UYVY),
    "yuv422": _packed_yuv(cv2.COLOR_YUV2BGR_UYVY),
    "nv12": _planar_yuv(cv2.COLOR_YUV2BGR_NV12),
    "nv21": _planar_yuv(cv2.COLOR_YUV2BGR_NV21),
    # OpenCV's Bayer names describe the second row and column, hence the swap against the ROS names.
    "bayer_rggb8": _bayer(cv2.COLOR_BayerBG2BGR),
    "bayer_bggr8": _bayer(cv2.COLOR_BayerRG2BGR),
    "bayer_gbrg8": _bayer(cv2.COLOR_BayerGR2BGR),
    "bayer_grbg8": _bayer(cv2.COLOR_BayerGB2BGR),
}


def check_image(image: Image) -> None:
    """Raise MessageError unless an image's encoding is known and its data are what that asks for.

    Reasons: `unknown_encoding`, `zero_size`, `odd_size`, `wrong_data_size`. A JPEG image is not decoded for
    it: its header has been looked at, its pixels will be.
    """
    if isinstance(image, JpegImage):
        return
    wanted, dtype = _stored_form(image.encoding, image.width, image.height)
    data = image.data
    if data.shape != wanted or data.dtype != dtype:
        raise MessageError(
            "wrong_data_size",
            f"the data of a {image.encoding} image of {image.width}x{image.height} must be {dtype} of shape "
            f"{wanted}, not {data.dtype} of {data.shape}",
        )


@lru_cache(maxsize=64)
def _stored_form(encoding: str, width: int, height: int) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an image's data; raises MessageError as `check_image` does."""
    pixel_format = PIXEL_FORMATS.get(encoding)
    if pixel_format is None:
        known = ", ".join(sorted(PIXEL_FORMATS))
        raise MessageError("unknown_encoding", f"encoding {encoding!r} is not one of {known}")
    size = f"{width}x{height}"
    if width < 1 or height < 1:
        raise MessageError("zero_size", f"the image is {size}: a side must be 1 or more")
    is_planar = pixel_format.rows_per_line != 1.0
    if (pixel_format.even_width and width % 2) or (is_planar and height % 2):
        raise MessageError("odd_size", f"{encoding} needs even sides, the image is {size}")
    wanted: tuple[int, ...] = (pixel_format.stored_rows(height), width)
    if pixel_format.channels > 1:
        wanted = (*wanted, pixel_format.channels)
    return wanted, pixel_format.dtype
