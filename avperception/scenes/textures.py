"""Textures drawn once per process: tileable noise, façades, truck liveries, brickwork, leaves."""

from __future__ import annotations

from functools import cache, lru_cache, partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avperception.scenes.shapes import palette
from avperception.scenes.shapes.builder import Colour
from avperception.scenes.shapes.shape import Texture
from avperception.types import Float32, UInt8

MEAN_GREY = 128
"""Grey value of a noise tile that leaves a colour as it is."""

_LIBRARY_SEED = 20_261_101  # tiles are the same in every scene; scenes differ in where they look them up
_VARIANTS = 48


@cache
def noise_tile(size: int, roughness: float, contrast: float, variant: int = 0) -> UInt8:
    """A tileable grey picture (size, size) of 1/f^roughness noise around MEAN_GREY.

    `contrast` is its standard deviation as a share of MEAN_GREY.
    """
    noise = np.clip(np.float32(contrast) * _unit_noise(size, roughness, variant), -0.75, 0.9)
    return np.asarray(np.round(MEAN_GREY * (1 + noise)), np.uint8)


@cache
def _unit_noise(size: int, roughness: float, variant: int) -> Float32:
    """Noise of unit deviation by spectral synthesis: white noise weighted by a power law in the frequency
    domain, which makes it periodic by construction.
    """
    rng = np.random.default_rng([_LIBRARY_SEED, size, variant, int(100 * roughness)])
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]) * size
    frequency[0, 0] = np.inf
    white = np.fft.rfft2(rng.standard_normal((size, size), np.float32))
    noise = np.fft.irfft2(white * frequency**-roughness, s=(size, size))
    return np.asarray(noise / noise.std(), np.float32)


@cache
def asphalt_tile(variant: int) -> UInt8:
    """Asphalt (1024, 1024): fine grain, blotches, cracks and tar seams."""
    grain = noise_tile(512, 0.55, 0.10 + 0.02 * variant).astype(np.float32)
    tile = np.tile(grain * noise_tile(512, 1.5, 0.08, 1) / MEAN_GREY, (2, 2))
    rng = np.random.default_rng([_LIBRARY_SEED, 7, variant])
    seams = np.full((1024, 1024), 255, np.uint8)
    for _ in range(int(rng.integers(2, 10))):
        walk = np.cumsum(rng.normal(0, 11, (40, 2)), axis=0) + rng.uniform(0, 1024, 2)
        cv2.polylines(seams, [walk.astype(np.int32)], False, int(rng.integers(120, 190)), 2, cv2.LINE_AA)
    for _ in range(int(rng.integers(1, 6))):
        x, y, w, h = rng.integers((0, 0, 60, 60), (900, 900, 240, 240))
        cv2.rectangle(seams, (x, y), (x + w, y + h), int(rng.integers(195, 225)), -1)
    seams = cv2.GaussianBlur(seams, (3, 3), 0)
    return np.asarray(np.clip(tile * (seams.astype(np.float32) / 250), 0, 255), np.uint8)


@cache
def ground_tile(variant: int) -> UInt8:
    """A tileable picture (1024, 1024, 2): asphalt, and pavement or grass."""
    rough = np.tile(noise_tile(512, 0.75, 0.12), (2, 2))
    return np.ascontiguousarray(np.stack([asphalt_tile(variant), rough], axis=2))


@cache
def grain_patch(variant: int, contrast: float) -> UInt8:
    """A tileable BGR surface texture (256, 256, 3): stains and grain with a little colour."""
    grey = np.clip(contrast * _unit_noise(256, 1.0, 10 + variant), -0.75, 0.9)
    planes = [
        grey + 0.12 * contrast * _unit_noise(256, 1.2, 40 + 3 * variant + channel) for channel in range(3)
    ]
    return _to_bytes(MEAN_GREY * (1 + np.stack(planes, axis=2)))


@lru_cache(maxsize=4 * _VARIANTS)
def facade(variant: int, columns: int, rows: int, lit: bool) -> Texture:
    """A house front of `columns` by `rows` windows, 64 pixels to a storey; by night some windows are lit."""
    return Texture(partial(_facade, variant, columns, rows, lit))


@lru_cache(maxsize=2 * _VARIANTS)
def livery(variant: int, is_rear: bool) -> Texture:
    """The side or the doors (`is_rear`) of a truck's box: stripes, patches, lettering-like marks, dirt."""
    return Texture(partial(_livery, variant, is_rear))


@lru_cache(maxsize=8 * _VARIANTS)
def leaves(variant: int, repeats: int) -> Texture:
    """A hedge's side, `repeats` times as long as high: clumps of leaves and holes."""
    return Texture(partial(_leaves, variant, repeats))


@lru_cache(maxsize=8 * _VARIANTS)
def brickwork(variant: int, repeats: int) -> Texture:
    """A wall, `repeats` times as long as high, of courses of bricks or panels."""
    return Texture(partial(_brickwork, variant, repeats))


def _facade(variant: int, columns: int, rows: int, lit: bool) -> UInt8:
    rng = np.random.default_rng([_LIBRARY_SEED, 1, variant])
    cell_w, cell_h = 56, 64
    height, width = rows * cell_h, columns * cell_w
    picture = _masonry(rng, height, width)
    w0, w1 = sorted(rng.uniform(0.14, 0.34, 1).tolist() + [rng.uniform(0.62, 0.86)])
    h0, h1 = rng.uniform(0.12, 0.26), rng.uniform(0.62, 0.86)
    frame = palette.masonry(rng) if rng.random() < 0.5 else (225.0, 228.0, 230.0)
    shop = bool(rng.random() < 0.4)
    for row in range(rows):
        ground_floor = row == rows - 1
        for column in range(columns):
            x0, x1 = int((column + w0) * cell_w), int((column + w1) * cell_w)
            y0, y1 = int((row + h0) * cell_h), int((row + h1) * cell_h)
            if ground_floor and shop:
                x0, x1, y0, y1 = (
                    column * cell_w + 3,
                    (column + 1) * cell_w - 4,
                    y0 - 6,
                    (row + 1) * cell_h - 6,
                )
            elif ground_floor and rng.random() < 0.2:
                y1 = (row + 1) * cell_h
            _window(picture, rng, (x0, y0, x1, y1), frame, lit)
    if shop:
        y = (rows - 1) * cell_h
        cv2.rectangle(picture, (0, y - 6), (width, y + 6), palette.any_colour(rng), -1)
    if rng.random() < 0.4:
        for row in range(1, rows):
            cv2.line(picture, (0, row * cell_h), (width, row * cell_h), (90, 95, 100), 2)
    return picture


def _livery(variant: int, is_rear: bool) -> UInt8:
    rng = np.random.default_rng([_LIBRARY_SEED, 2, variant])
    width, height = (160, 160) if is_rear else (320, 160)
    base = palette.any_colour(rng) if rng.random() < 0.5 else (222.0, 224.0, 224.0)
    picture = np.full((height, width, 3), base, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(-0.2, 1.0, 2) * (width, height)
        spread = rng.uniform(0.1, 0.6, 2) * (width, height)
        colour = palette.any_colour(rng)
        if rng.random() < 0.5:
            cv2.rectangle(picture, (int(x), int(y)), (int(x + spread[0]), int(y + spread[1])), colour, -1)
        else:
            cv2.circle(picture, (int(x), int(y)), int(0.5 * spread.min()), colour, -1, cv2.LINE_AA)
    ink = palette.any_colour(rng)
    x, y = int(0.1 * width), int(rng.uniform(0.25, 0.6) * height)
    for _ in range(int(rng.integers(4, 10))):
        step = int(rng.integers(10, 24))
        cv2.rectangle(
            picture, (x, y), (x + step - 5, y + int(rng.integers(16, 34))), ink, int(rng.choice([-1, 3]))
        )
        x += step
    if is_rear:
        cv2.line(picture, (width // 2, 0), (width // 2, height), (40, 40, 40), 2)
        for handle in (0.44, 0.56):
            cv2.line(picture, (int(handle * width), 8), (int(handle * width), height - 8), (110, 110, 110), 2)
    dirt = _stains(height, width, variant, 0.10)
    return _to_bytes(picture * dirt)


def _leaves(variant: int, repeats: int) -> UInt8:
    rng = np.random.default_rng([_LIBRARY_SEED, 3, variant])
    clumps = noise_tile(256, 0.7, 0.55, 20 + variant % 5)[:96].astype(np.float32) / MEAN_GREY
    clumps = np.tile(clumps, (1, -(-repeats * 96 // 256)))[:, : repeats * 96]
    return _to_bytes(clumps[:, :, None] * np.asarray(palette.foliage(rng), np.float32))


def _brickwork(variant: int, repeats: int) -> UInt8:
    return _masonry(np.random.default_rng([_LIBRARY_SEED, 4, variant]), 96, 96 * repeats)


def _masonry(rng: np.random.Generator, height: int, width: int) -> UInt8:
    colour = palette.masonry(rng)
    picture = np.full((height, width, 3), colour, np.float32)
    if rng.random() < 0.45:
        course, brick = int(rng.integers(6, 12)), int(rng.integers(14, 26))
        for row, y in enumerate(range(0, height, course)):
            offset = (row % 2) * brick // 2
            for x in range(-offset, width, brick):
                picture[y : y + course, max(x, 0) : x + brick] *= rng.uniform(0.82, 1.14)
            picture[y] *= 0.8
    return _to_bytes(picture * _stains(height, width, int(rng.integers(1000)), 0.09))


def _window(
    picture: UInt8,
    rng: np.random.Generator,
    corners: tuple[int, int, int, int],
    frame: Colour,
    lit: bool,
) -> None:
    x0, y0, x1, y1 = corners
    cv2.rectangle(picture, (x0 - 2, y0 - 2), (x1 + 2, y1 + 2), frame, -1)
    glass = rng.uniform(30, 95) + np.linspace(28, -10, max(y1 - y0, 1))[:, None, None] * np.ones(
        (1, x1 - x0, 3)
    )
    glass = glass * (1.1, 1.0, 0.92)
    shine = rng.random()
    if lit and shine < 0.35:
        glass = glass * 0 + np.array((110, 190, 240)) * rng.uniform(1.5, 2.6)
    elif shine < 0.55:
        glass[: int(rng.uniform(0.2, 0.8) * len(glass))] = (170, 180, 186)
    picture[y0:y1, x0:x1] = np.clip(glass, 0, 255)
    cv2.line(picture, ((x0 + x1) // 2, y0), ((x0 + x1) // 2, y1), frame, 1)


def _stains(height: int, width: int, variant: int, contrast: float) -> Float32:
    tile = noise_tile(512, 1.1, contrast, 30 + variant % 6)
    repeats = (-(-height // 512), -(-width // 512))
    return np.tile(tile, repeats)[:height, :width, None].astype(np.float32) / np.float32(MEAN_GREY)


def _to_bytes(picture: NDArray[np.floating[Any]]) -> UInt8:
    return np.asarray(np.clip(picture, 0, 255), np.uint8)
