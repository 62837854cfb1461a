"""Cheap statistics of one image: light, contrast, colour, sharpness; under a millisecond at 1080p."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avperception.ops.cpu import to_bgr
from avperception.ops.encodings import PIXEL_FORMATS
from avperception.types import Image, UInt8

SAMPLES_WIDE = 120
"""Columns that the image is thinned to, in pairs, so that YUV and Bayer patterns stay whole."""
CROP_WIDTH, CROP_HEIGHT = 256, 144
"""The middle of the image, at full resolution, in which sharpness is measured."""
DARK, BRIGHT = 16, 250
"""Grey values up to and from which a pixel counts as under- and overexposed."""


@dataclass(frozen=True)
class ImageStatistics:
    """Statistics of one image, most of them shares or grey values over 255, all of them 0 to about 1.

    - `brightness`, `contrast`: mean and standard deviation of the luma (RMS contrast);
    - `dark_share`, `bright_share`: shares of under- and overexposed pixels;
    - `colourfulness`: Hasler and Süsstrunk 2003, over 255;
    - `sharpness`: log10(1 + variance of the Laplacian) / 4 in the middle of the image; 0 is flat;
    - `sky_lift`: brightness of the upper third less that of the lower third, -1 to 1: high under an
      open sky, near 0 at night and in a tunnel;
    - `centre_lift`: brightness of the middle less that of the border, -1 to 1: high where a tunnel ends
      ahead, low where one begins.
    """

    brightness: float
    contrast: float
    dark_share: float
    bright_share: float
    colourfulness: float
    sharpness: float
    sky_lift: float
    centre_lift: float

    def as_dict(self) -> dict[str, float]:
        """The statistics by name, rounded to what they are good for."""
        return {name: round(value, 4) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> ImageStatistics:
        """The statistics that `as_dict` gave; raises KeyError or TypeError for anything else."""
        return cls(**{name: float(values[name]) for name in FEATURES})


FEATURES: tuple[str, ...] = tuple(field.name for field in fields(ImageStatistics))

SIGNED = ("sky_lift", "centre_lift")
"""Features that lie between -1 and 1; all others lie between 0 and 1."""


def image_statistics(image: Image) -> ImageStatistics:
    """Measure one image of any encoding on a sample of its pixels."""
    small = to_bgr(_thinned(image))
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(grey))
    third = max(1, grey.shape[0] // 3)
    return ImageStatistics(
        brightness=mean / 255,
        contrast=deviation / 255,
        dark_share=np.count_nonzero(grey <= DARK) / grey.size,
        bright_share=np.count_nonzero(grey >= BRIGHT) / grey.size,
        colourfulness=_colourfulness(small),
        sharpness=_sharpness(to_bgr(_middle(image))),
        sky_lift=(cv2.mean(grey[:third])[0] - cv2.mean(grey[-third:])[0]) / 255,
        centre_lift=_centre_lift(grey, mean),
    )


_OPPONENT_COLOURS = np.array([[0, -1, 1], [-1, 0.5, 0.5]], dtype=np.float32)
"""Red less green, and yellow less blue, of blue, green and red."""


def _colourfulness(bgr: UInt8) -> float:
    mean, deviation = cv2.meanStdDev(cv2.transform(bgr.astype(np.float32), _OPPONENT_COLOURS))
    return float(np.hypot(*deviation.ravel()) + 0.3 * np.hypot(*mean.ravel())) / 255


def _sharpness(bgr: UInt8) -> float:
    edges = cv2.Laplacian(cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY), cv2.CV_16S)
    variance = float(cv2.meanStdDev(edges)[1][0, 0]) ** 2
    return float(np.log10(1 + variance)) / 4


def _centre_lift(grey: UInt8, mean: float) -> float:
    height, width = grey.shape
    centre = grey[height // 3 : height - height // 3, width // 3 : width - width // 3]
    centre_mean = cv2.mean(centre)[0]
    border = (mean * grey.size - centre_mean * centre.size) / max(1, grey.size - centre.size)
    return float(centre_mean - border) / 255


def _thinned(image: Image) -> Image:
    """Pairs of rows and columns, evenly spread; an image of the same encoding."""
    step = max(2, 2 * round(image.width / SAMPLES_WIDE))
    rows, columns = _pairs(image.height, step), _pairs(image.width, step)
    data = image.data[np.ix_(rows, columns)]
    if PIXEL_FORMATS[image.encoding].rows_per_line != 1.0:
        chroma = image.data[image.height :][np.ix_(rows[::2] // 2, columns)]
        data = np.concatenate([data, chroma])
    return _of(image, data, len(columns), len(rows))


def _pairs(length: int, step: int) -> NDArray[np.int64]:
    if length < 2:
        return np.zeros(length, dtype=np.int64)
    starts = np.arange(0, length - 1, step)
    return np.stack([starts, starts + 1], axis=1).ravel()


def _middle(image: Image) -> Image:
    """The middle of the image as it is; an image of the same encoding."""
    width, height = min(CROP_WIDTH, image.width), min(CROP_HEIGHT, image.height)
    left, top = (image.width - width) // 4 * 2, (image.height - height) // 4 * 2
    data = image.data[top : top + height, left : left + width]
    if PIXEL_FORMATS[image.encoding].rows_per_line != 1.0:
        height -= height % 2
        start = image.height + top // 2
        chroma = image.data[start : start + height // 2, left : left + width]
        data = np.concatenate([data[:height], chroma])
    return _of(image, data, width, height)


def _of(image: Image, data: NDArray[Any], width: int, height: int) -> Image:
    return Image(data, image.encoding, width, height, image.stamp_ns, image.frame_id)
