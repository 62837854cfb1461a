"""One colour per class, the same in every picture, marker and run."""

from __future__ import annotations

import colorsys
import zlib
from functools import lru_cache

_HUES = {
    "car": 0.58,
    "van": 0.55,
    "truck": 0.78,
    "bus": 0.72,
    "person": 0.03,
    "pedestrian": 0.03,
    "bicycle": 0.12,
    "cyclist": 0.12,
    "motorcycle": 0.16,
    "motorbike": 0.16,
    "road": 0.38,
    "drivable_area": 0.38,
    "lane_line": 0.15,
}
"""Hues of the common classes, apart from each other; any other class takes one from its name."""


@lru_cache(maxsize=512)
def class_rgb(class_name: str) -> tuple[float, float, float]:
    """Give the colour of a class as red, green, blue from 0 to 1."""
    hue = _HUES.get(class_name, zlib.crc32(class_name.encode()) % 360 / 360)
    return colorsys.hsv_to_rgb(hue, 0.8, 1.0)


def class_bgr(class_name: str) -> tuple[int, int, int]:
    """Give the colour of a class as OpenCV takes it."""
    red, green, blue = class_rgb(class_name)
    return round(blue * 255), round(green * 255), round(red * 255)
