"""Random colours for paint, clothes, skin and masonry, all blue-green-red 0-255."""

from __future__ import annotations

import colorsys

import numpy as np

from avperception.scenes.shapes.builder import Colour

_PAINT: tuple[Colour, ...] = (
    (236, 238, 238),
    (190, 192, 190),
    (120, 118, 115),
    (58, 55, 52),
    (34, 32, 31),
    (36, 30, 150),
    (120, 62, 28),
    (150, 110, 60),
    (60, 84, 40),
    (60, 150, 200),
    (70, 90, 120),
    (40, 60, 92),
)
_SKIN: tuple[Colour, ...] = ((170, 195, 232), (140, 170, 215), (96, 130, 180), (60, 88, 135), (44, 62, 98))
_HAIR: tuple[Colour, ...] = ((26, 26, 28), (40, 52, 74), (70, 110, 150), (110, 112, 116), (34, 44, 92))
_MASONRY: tuple[Colour, ...] = (
    (150, 168, 182),
    (120, 130, 140),
    (88, 104, 158),
    (96, 120, 148),
    (176, 190, 198),
    (140, 160, 196),
    (100, 108, 110),
    (150, 140, 120),
    (112, 140, 176),
)


def car_paint(rng: np.random.Generator) -> Colour:
    """Mostly the colours cars are sold in, one in four any colour at all."""
    return _jitter(rng, _pick(rng, _PAINT), 14) if rng.random() < 0.75 else any_colour(rng)


def clothes(rng: np.random.Generator) -> Colour:
    """Any colour, dark ones and greys more often."""
    if rng.random() < 0.5:
        grey = rng.uniform(25, 190)
        return _jitter(rng, (grey, grey, grey), 22)
    return any_colour(rng)


def skin(rng: np.random.Generator) -> Colour:
    """A skin colour."""
    return _jitter(rng, _pick(rng, _SKIN), 10)


def hair(rng: np.random.Generator) -> Colour:
    """A hair colour."""
    return _jitter(rng, _pick(rng, _HAIR), 10)


def masonry(rng: np.random.Generator) -> Colour:
    """Plaster, brick or concrete."""
    return _jitter(rng, _pick(rng, _MASONRY), 24)


def foliage(rng: np.random.Generator) -> Colour:
    """Greens, now and then autumn."""
    base: Colour = (44, 104, 80) if rng.random() < 0.88 else (44, 104, 150)
    return darker(_jitter(rng, base, 10), rng.uniform(0.7, 1.3))


def any_colour(rng: np.random.Generator) -> Colour:
    """A colour of random hue, saturation and brightness."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.2, 0.95), rng.uniform(0.18, 0.95))
    return (255 * blue, 255 * green, 255 * red)


def darker(colour: Colour, factor: float) -> Colour:
    """The same colour times `factor`."""
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def _pick(rng: np.random.Generator, colours: tuple[Colour, ...]) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def _jitter(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    blue, green, red = np.clip(np.asarray(colour) + rng.normal(0, amount, 3), 4, 250)
    return (float(blue), float(green), float(red))
