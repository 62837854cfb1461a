"""How an image's pixels lie in memory."""

from __future__ import annotations

import numpy as np

from avperception.ops.encodings import PIXEL_FORMATS
from avperception.types import Image, UInt8


def stored_shape(image: Image) -> tuple[int, int]:
    """Rows, and bytes a row, that an image takes in memory without padding."""
    pixel_format = PIXEL_FORMATS[image.encoding]
    return pixel_format.stored_rows(image.height), image.width * pixel_format.bytes_per_column


def stored_bytes(image: Image, shape: tuple[int, int]) -> UInt8:
    """View an image's memory as bytes (rows, bytes of a row); rows may lie apart."""
    return image.data.view(np.uint8).reshape(shape)
