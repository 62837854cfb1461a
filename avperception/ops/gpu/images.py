"""Images to network input, on the GPU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avperception.ops.cpu import SamplingMap
from avperception.ops.gpu.module import blocks, launch, suffix
from avperception.ops.gpu.rectification import on_gpu
from avperception.ops.placement import Placement
from avperception.types import Array, Float32, Image

BLOCK = (32, 8)


@dataclass(frozen=True)
class PartialImage(Image):
    """An image of which only the rows that somebody reads are stored.

    `places` (height,) int32 on the GPU says where each row is stored, or for one that is not, any place.
    """

    places: Array = None


_KERNELS = {
    "8UC3": "bgr8",
    "8UC1": "mono8",
    "16UC1": "mono16",
    "yuv422_yuy2": "yuy2",
    "yuyv": "yuy2",
    "yuv422": "uyvy",
}
"""Encodings whose bytes lie as those of another one."""


def preprocess(
    image: Image,
    tensor: Array,
    placement: Placement,
    *,
    colour: str,
    gain: Float32,
    offset: Float32,
    pad_value: float,
    sampling: SamplingMap | None = None,
) -> None:
    """Convert, resize and normalise an image into `tensor` (1, 3, height, width), float32 or float16.

    As `ops.cpu.preprocess`, in one pass; `image.data` is a CuPy array of bytes (stored rows, bytes of a row),
    of some rows only for a `PartialImage`.
    """
    height, width = tensor.shape[2:]
    layout = _KERNELS.get(image.encoding, image.encoding)
    if sampling is None:
        way = "preprocess"
        # The reciprocal of the scale, as OpenCV takes it.
        scales = placement.width / image.width, placement.height / image.height
        sampled: tuple[Array, ...] = tuple(np.float64(1.0 / scale) for scale in scales)
    else:
        way, sampled = "rectify", on_gpu(sampling)
    launch(
        "preprocess",
        f"{way}_{layout}_{suffix(tensor)}",
        (blocks(width, BLOCK[0]), blocks(height, BLOCK[1])),
        BLOCK,
        image.data,
        image.width,
        image.height,
        image.data.strides[0],
        getattr(image, "places", None),
        tensor,
        width,
        height,
        placement.left,
        placement.top,
        placement.width,
        placement.height,
        *sampled,
        colour == "rgb",
        *(float(value) for value in gain),
        *(float(value) for value in offset),
        float(pad_value),
    )
