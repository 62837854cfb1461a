"""Images to network input, on the host."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avperception.ops.cpu.rectification import SamplingMap
from avperception.ops.encodings import BGR_ORDER, PIXEL_FORMATS, RGB_ORDER
from avperception.ops.placement import Placement
from avperception.types import Float32, Image, UInt8


def interleaved(image: Image) -> tuple[UInt8, tuple[int, int, int]]:
    """Give an image as uint8 (height, width, channels) and the channels that are blue, green and red.

    A view where the encoding allows it; YUV and Bayer are converted to BGR, 16 bits cut to the upper 8.
    """
    pixel_format = PIXEL_FORMATS[image.encoding]
    data = image.data
    if pixel_format.conversion is not None:
        return cv2.cvtColor(np.ascontiguousarray(data), pixel_format.conversion), BGR_ORDER
    if data.dtype == np.uint16:
        data = (data >> 8).astype(np.uint8)
    return data.reshape(image.height, image.width, -1), pixel_format.bgr_order


def to_bgr(image: Image) -> UInt8:
    """Copy an image of any encoding into a contiguous (height, width, 3) uint8 BGR array."""
    array, bgr_order = interleaved(image)
    return np.ascontiguousarray(array[..., list(bgr_order)])


def rows_sampled(source: int, target: int) -> NDArray[np.int64]:
    """The rows of an image of `source` rows that count when it is resized to `target` rows, sorted.

    To shrink an image bilinearly leaves out rows: to a third every row but one of three.
    """
    step = 1.0 / (target / source)
    position = ((np.arange(target) + 0.5) * step - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    weighs = np.rint((position - first) * 2048) > 0
    rows = np.concatenate([first, first[weighs] + 1])
    return np.unique(np.clip(rows, 0, source - 1))


def preprocess(
    image: Image,
    tensor: NDArray[Any],
    placement: Placement,
    *,
    colour: str,
    gain: Float32,
    offset: Float32,
    pad_value: float,
    sampling: SamplingMap | None = None,
) -> None:
    """Resize, reorder and normalise an image into `tensor` (1, 3, height, width), which is overwritten.

    Bilinear with pixel centres at half integers (OpenCV's INTER_LINEAR), or from where `sampling`, the map
    of a rectified image at this placement, says. Channel c of the network, in `colour` order (`rgb` or
    `bgr`), becomes `pixel * gain[c] + offset[c]`; outside of `placement`, and where the map shows nothing,
    lies `pad_value`, normalised the same way.
    """
    array, bgr_order = interleaved(image)
    size = (placement.width, placement.height)
    if sampling is None:
        resized = cv2.resize(array, size, interpolation=cv2.INTER_LINEAR)
    else:
        resized = cv2.remap(array, *sampling.arrays, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    resized = resized.reshape(size[1], size[0], -1)
    rows = slice(placement.top, placement.top + placement.height)
    columns = slice(placement.left, placement.left + placement.width)
    network_order = BGR_ORDER if colour == "bgr" else RGB_ORDER
    covers_all = tensor.shape[2:] == (placement.height, placement.width)
    for channel, bgr_channel in enumerate(network_order):
        plane = tensor[0, channel]
        padding = pad_value * gain[channel] + offset[channel]
        if not covers_all:
            plane[...] = padding
        window = plane[rows, columns]
        np.multiply(resized[..., bgr_order[bgr_channel]], gain[channel], out=window, casting="unsafe")
        if offset[channel]:
            window += offset[channel]
        if sampling is not None:
            window[sampling.is_outside] = padding
