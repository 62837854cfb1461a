"""The camera behind the lens: blur, tone curve, falling-off corners and noise."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from avperception.scenes.conditions import Condition
from avperception.scenes.textures import MEAN_GREY
from avperception.types import UInt8

_NOISE_SIGMA = 24.0  # of the stored noise, grey values
_MARGIN = 97  # pixels by which the stored noise is larger than a picture: so many places to start


def expose(picture: UInt8, condition: Condition, rng: np.random.Generator) -> UInt8:
    """The image (height, width, 3) that the sensor delivers of an ideal picture."""
    if condition.blur > 0.2:
        picture = (
            cv2.GaussianBlur(picture, (0, 0), condition.blur)
            if condition.blur > 1.0
            else _soften(picture, condition.blur)
        )
    if condition.gamma != 1.0:
        picture = cv2.LUT(picture, _tone_curve(condition.gamma))
    height, width = picture.shape[:2]
    y, x = rng.integers(_MARGIN, size=2)
    noise = _noise(height, width)[y : y + height, x : x + width]
    amount = condition.noise / _NOISE_SIGMA
    return np.asarray(cv2.addWeighted(picture, 1.0, noise, amount, -MEAN_GREY * amount), np.uint8)


def _soften(picture: UInt8, sigma: float) -> UInt8:
    """A 3x3 Gaussian; for sigma below 1 nothing beyond it counts."""
    return np.asarray(cv2.GaussianBlur(picture, (3, 3), sigma), np.uint8)


@lru_cache(maxsize=8)
def _noise(height: int, width: int) -> UInt8:
    rng = np.random.default_rng([height, width])
    noise = rng.normal(MEAN_GREY, _NOISE_SIGMA, (height + _MARGIN, width + _MARGIN, 3))
    return np.asarray(np.clip(np.round(noise), 0, 255), np.uint8)


@lru_cache(maxsize=32)
def _tone_curve(gamma: float) -> UInt8:
    return np.asarray(np.round(255 * (np.arange(256) / 255) ** gamma), np.uint8)
