"""The sky above the horizon: a gradient, clouds, a sun and a far skyline, as one panorama a scene."""

from __future__ import annotations

import cv2
import numpy as np

from avperception.scenes.conditions import Condition
from avperception.scenes.textures import MEAN_GREY, noise_tile
from avperception.types import Float32, Float64, UInt8

_WIDTH = 2048  # pixels for 360 degrees
_HEIGHT = 384
_BOTTOM = -0.08  # rad, elevation of the lowest row
_STEP = 2 * np.pi / _WIDTH


def make_panorama(condition: Condition, sun_direction: Float64, rng: np.random.Generator) -> UInt8:
    """A picture of twice 360 degrees, so that a view never leaves it; columns are azimuth, rows elevation."""
    elevation = (_BOTTOM + _STEP * np.arange(_HEIGHT, dtype=np.float32))[::-1, None, None]
    low, high = (np.asarray(c, np.float32) for c in (condition.sky_low, condition.sky_high))
    blend = np.clip(elevation / 0.7, 0, 1) ** 0.6
    sky = (1 - blend) * low + blend * high * np.ones((1, _WIDTH, 1), np.float32)
    noise = cv2.resize(noise_tile(512, 1.25, 0.5, int(rng.integers(4))), (_WIDTH, 512)).astype(np.float32)
    cloud = np.clip((np.roll(noise[:_HEIGHT], int(rng.integers(_WIDTH)), 1) / MEAN_GREY - 0.9) * 1.6, 0, 1)
    white = np.asarray(condition.ambient, np.float32) * (330 if condition.sun[2] > 0.1 else 250)
    cover = (condition.clouds * cloud)[..., None]
    sky = (1 - cover) * sky + cover * np.minimum(white, 250)
    sky += _sun_glow(condition, sun_direction, elevation[..., 0])[..., None] * np.asarray(condition.sun) * 220
    _draw_skyline(sky, condition, rng)
    both = np.clip(np.concatenate([sky, sky], axis=1), 0, 255).astype(np.uint8)
    return np.asarray(cv2.GaussianBlur(both, (3, 3), 0), np.uint8)


def _sun_glow(condition: Condition, sun_direction: Float64, elevation: Float32) -> Float32:
    if max(condition.sun) == 0:
        return np.zeros((_HEIGHT, _WIDTH), np.float32)
    azimuth = _azimuths()[None, :]
    x, y, z = (np.float32(v) for v in sun_direction)
    cosine = np.cos(elevation) * (x * np.cos(azimuth) + y * np.sin(azimuth)) + np.sin(elevation) * z
    angle = np.arccos(np.clip(cosine, -1, 1))
    return np.asarray(np.exp(-((angle / 0.05) ** 2)) * 1.5 + 0.5 * np.exp(-((angle / 0.3) ** 2)), np.float32)


def _draw_skyline(sky: Float32, condition: Condition, rng: np.random.Generator) -> None:
    """Hills, far woods or houses along the horizon, pale with distance."""
    fade = float(np.exp(-condition.fog_density * 220))
    horizon = _HEIGHT - 1 + _BOTTOM / _STEP
    rough = (
        noise_tile(512, 1.4, 0.5, int(rng.integers(4)))[int(rng.integers(512))].astype(np.float32) / MEAN_GREY
    )
    hills = np.interp(
        np.arange(_WIDTH), np.linspace(0, _WIDTH, 513), np.append(rough, rough[0])
    ) * rng.uniform(3, 14)
    if rng.random() < 0.6:
        blocks = np.repeat(rng.uniform(0, 16, _WIDTH // 16) * (rng.random(_WIDTH // 16) < 0.6), 16)
        hills = np.maximum(hills, blocks)
    base = np.asarray((78, 92, 88) if rng.random() < 0.6 else (110, 105, 100), np.float32)
    colour = base * (np.asarray(condition.ambient) + 0.5 * np.asarray(condition.sun)) * fade
    colour = colour + np.asarray(condition.fog) * (1 - fade)
    rows = np.arange(_HEIGHT)[:, None]
    sky[(rows > horizon - hills[None, :]) & (rows <= _HEIGHT)] = colour


class SkyView:
    """Looks a panorama up for one camera; works at half the picture's resolution."""

    def __init__(self, K: Float64, width: int, height: int, R_base_camera: Float64) -> None:
        x, y = np.meshgrid(np.arange(0, width, 2), np.arange(0, height, 2))
        rays = np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones(x.shape)], axis=-1)
        rays = rays @ R_base_camera.T
        elevation = np.arctan2(rays[..., 2], np.hypot(rays[..., 0], rays[..., 1]))
        azimuth = np.unwrap(np.arctan2(rays[..., 1], rays[..., 0]), axis=1)
        rows = np.flatnonzero((elevation > _BOTTOM).any(axis=1))
        self.rows = min(height, 2 * (int(rows[-1]) + 1)) if len(rows) else 0
        kept = slice(0, self.rows // 2)
        self._x = (azimuth[kept] / _STEP).astype(np.float32)
        self._y = np.clip(_HEIGHT - 1 - (elevation[kept] - _BOTTOM) / _STEP, 0, _HEIGHT - 1).astype(
            np.float32
        )
        self._low = float(self._x.min()) if self.rows else 0.0

    def paint(self, picture: UInt8, panorama: UInt8, ego_yaw: float, gain: float) -> None:
        """Fill the rows of the picture that may show sky."""
        if not self.rows:
            return
        shift = ego_yaw / _STEP
        shift -= np.floor((self._low + shift) / _WIDTH) * _WIDTH
        view = cv2.remap(panorama, self._x + np.float32(shift), self._y, cv2.INTER_LINEAR)
        if gain != 1.0:
            view = cv2.convertScaleAbs(view, alpha=gain)
        height = picture[: self.rows].shape[0]
        cv2.resize(view, (picture.shape[1], height), dst=picture[: self.rows], interpolation=cv2.INTER_LINEAR)


def _azimuths() -> Float32:
    return (np.arange(_WIDTH, dtype=np.float32) * np.float32(_STEP)).astype(np.float32)
