"""Images in every encoding, encoded here by hand from known colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from avperception.types import Image

UInt8 = NDArray[np.uint8]

BAYER_FIRST_ROWS = {
    "bayer_rggb8": "rggb",
    "bayer_bggr8": "bggr",
    "bayer_gbrg8": "gbrg",
    "bayer_grbg8": "grbg",
}
"""Colours of the upper left 2x2 pixels, row by row: what the name of the encoding says."""

EXACT = ("rgb8", "bgr8", "8UC3", "rgba8", "bgra8")
GREY = ("mono8", "8UC1", "mono16", "16UC1")
YUV = ("yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21")
BAYER = tuple(BAYER_FIRST_ROWS)
COLOUR = EXACT + YUV + BAYER


def blocks(height: int, width: int, seed: int = 0) -> UInt8:
    """BGR pixels of random colours, constant in blocks of 2x2, so that halved chroma loses nothing."""
    small = np.random.default_rng(seed).integers(20, 236, (height // 2, width // 2, 3), np.uint8)
    return small.repeat(2, axis=0).repeat(2, axis=1)


def yuv_of(bgr: UInt8) -> tuple[UInt8, UInt8, UInt8]:
    """Y, U, V planes by ITU-R BT.601, studio range."""
    b, g, r = (bgr[..., i] / 255.0 for i in range(3))
    y = 16 + 65.481 * r + 128.553 * g + 24.966 * b
    u = 128 - 37.797 * r - 74.203 * g + 112.0 * b
    v = 128 + 112.0 * r - 93.786 * g - 18.214 * b
    planes = [np.clip(np.round(plane), 0, 255).astype(np.uint8) for plane in (y, u, v)]
    return planes[0], planes[1], planes[2]


def encode(bgr: UInt8, encoding: str) -> NDArray[np.generic]:
    """Store BGR pixels as `encoding` says; grey encodings take the green channel."""
    height, width = bgr.shape[:2]
    b, g, r = (bgr[..., i] for i in range(3))
    alpha = np.full_like(g, 77)
    interleaved = {
        "rgb8": (r, g, b),
        "bgr8": (b, g, r),
        "8UC3": (b, g, r),
        "rgba8": (r, g, b, alpha),
        "bgra8": (b, g, r, alpha),
    }
    if encoding in interleaved:
        return np.stack(interleaved[encoding], axis=-1)
    if encoding in ("mono8", "8UC1"):
        return g.copy()
    if encoding in ("mono16", "16UC1"):
        return g.astype(np.uint16) * 256 + 201  # the lower byte must not matter
    if encoding in BAYER_FIRST_ROWS:
        mosaic = np.empty((height, width), np.uint8)
        for position, colour in enumerate(BAYER_FIRST_ROWS[encoding]):
            row, column = divmod(position, 2)
            mosaic[row::2, column::2] = {"r": r, "g": g, "b": b}[colour][row::2, column::2]
        return mosaic
    return _encode_yuv(bgr, encoding)


def _encode_yuv(bgr: UInt8, encoding: str) -> UInt8:
    height, width = bgr.shape[:2]
    y, u, v = yuv_of(bgr)
    if encoding in ("nv12", "nv21"):
        first, second = (u, v) if encoding == "nv12" else (v, u)
        chroma = np.stack([first[::2, ::2], second[::2, ::2]], axis=-1).reshape(height // 2, width)
        return np.concatenate([y, chroma])
    packed = np.empty((height, width, 2), np.uint8)
    luma, chroma = (0, 1) if encoding in ("yuyv", "yuv422_yuy2") else (1, 0)
    packed[..., luma] = y
    packed[:, ::2, chroma], packed[:, 1::2, chroma] = u[:, ::2], v[:, 1::2]
    return packed


def padded(data: NDArray[np.generic], columns: int = 3) -> NDArray[np.generic]:
    """The same pixels as a view into rows that end with `columns` more pixels of rubbish."""
    room = np.full((data.shape[0], data.shape[1] + columns, *data.shape[2:]), 171, data.dtype)
    view = room[:, : data.shape[1]]
    view[...] = data
    return view


def encoded(bgr: UInt8, encoding: str, with_padding: bool = False) -> Image:
    data = encode(bgr, encoding)
    height, width = bgr.shape[:2]
    return Image(padded(data) if with_padding else data, encoding, width, height, 1, "camera")
