"""sensor_msgs Image and CompressedImage to Image and back."""

from __future__ import annotations

from array import array
from dataclasses import replace

import numpy as np
from cv_bridge import CvBridge
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as ImageMessage

from avperception.bags import messages
from avperception.bags.definitions import typestore
from avperception.errors import MessageError
from avperception.nodes.conversions.headers import stamp_ns
from avperception.ops.encodings import PIXEL_FORMATS
from avperception.ops.jpeg import MAX_SIDE, JpegImage, read_header
from avperception.types import Image, UInt8


def image_from_message(message: ImageMessage) -> Image:
    """View a message's pixels as an Image, without a copy.

    Raises MessageError: `zero_stamp`, `unknown_encoding`, `zero_size`, `odd_size`, `wrong_step`,
    `wrong_data_size`, `big_endian`.
    """
    stamp = stamp_ns(message.header)
    pixel_format = PIXEL_FORMATS.get(message.encoding)
    if pixel_format is None:
        raise MessageError(
            "unknown_encoding",
            f"encoding {message.encoding!r} is not one of {', '.join(sorted(PIXEL_FORMATS))}",
        )
    height, width, step = message.height, message.width, message.step
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise MessageError("zero_size", f"the image is {width}x{height}, a side must be 1 to {MAX_SIDE}")
    if (pixel_format.even_width and width % 2) or (pixel_format.rows_per_line != 1.0 and height % 2):
        raise MessageError("odd_size", f"{message.encoding} needs even sides, the image is {width}x{height}")
    row_bytes = width * pixel_format.bytes_per_column
    if step < row_bytes or step % pixel_format.dtype.itemsize:
        raise MessageError(
            "wrong_step", f"step is {step}, a row of {message.encoding} takes {row_bytes} bytes"
        )
    rows = pixel_format.stored_rows(height)
    if len(message.data) != step * rows:
        raise MessageError(
            "wrong_data_size", f"data has {len(message.data)} bytes, step * rows is {step} * {rows}"
        )
    if message.is_bigendian and pixel_format.dtype.itemsize > 1:
        raise MessageError("big_endian", f"{message.encoding} in big-endian byte order is not read")
    flat = np.frombuffer(message.data, dtype=pixel_format.dtype)
    data = flat.reshape(rows, -1)[:, : width * pixel_format.channels]
    if pixel_format.channels > 1:
        data = data.reshape(rows, width, pixel_format.channels)
    return Image(data, message.encoding, width, height, stamp, message.header.frame_id)


def image_from_compressed(message: CompressedImage) -> Image:
    """Take a JPEG as it is, its pixels decoded where they are needed; decode a PNG at once.

    Raises MessageError: `zero_stamp`, `undecodable`; a JPEG's pixels may turn out `undecodable` later.
    """
    stamp = stamp_ns(message.header)
    file = np.frombuffer(message.data, np.uint8)
    jpeg = read_header(file)
    if jpeg is not None:
        return JpegImage(file, jpeg, stamp, message.header.frame_id)
    decoded = CvBridge().compressed_imgmsg_to_cv2(message) if file.size else None
    if decoded is None or decoded.dtype != np.uint8:
        raise MessageError(
            "undecodable", f"{file.size} bytes of format {message.format!r} are no 8-bit JPEG or PNG"
        )
    encoding = "mono8" if decoded.ndim == 2 else "bgr8"
    height, width = decoded.shape[:2]
    return Image(decoded, encoding, width, height, stamp, message.header.frame_id)


def serialized_image(pixels: UInt8, encoding: str, stamp: int, frame_id: str) -> UInt8:
    """Make the bytes (N,) of a sensor_msgs/Image (OMG CDR) of (height, width[, channels]) uint8 pixels.

    `stamp` in nanoseconds. The pixels, which are last in it, are copied once.
    """
    height = len(pixels)
    one_row = messages.image(stamp, frame_id, pixels[:1], encoding)
    empty = replace(one_row, height=height, data=np.zeros(0, np.uint8))
    head = np.frombuffer(typestore().serialize_cdr(empty, messages.IMAGE, little_endian=True), np.uint8)
    data = np.empty(len(head) + pixels.nbytes, np.uint8)
    data[: len(head)] = head
    data[len(head) - 4 : len(head)].view("<u4")[0] = pixels.nbytes
    np.copyto(data[len(head) :].reshape(height, -1), pixels.reshape(height, -1))
    return data


def image_message(pixels: UInt8, encoding: str) -> ImageMessage:
    """Make a message of (height, width[, channels]) uint8 pixels; the caller sets the header."""
    height, width = pixels.shape[:2]
    message = ImageMessage(height=height, width=width, encoding=encoding, is_bigendian=0)
    message.step = pixels[0].nbytes
    # The setter takes an array.array as it is; any other type is checked byte by byte.
    data = array("B")
    data.frombytes(np.ascontiguousarray(pixels).data)
    message.data = data
    return message
