"""What weather and lamps add to a finished picture: glow, wet reflections, rain and drops on the lens."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from avperception.scenes.render.lighting import LAMP_COLOURS
from avperception.scenes.render.mesh import Mesh
from avperception.scenes.render.outlines import NEAR, project
from avperception.scenes.render.painter import FIRST_SOLID
from avperception.scenes.shapes.shape import HEAD_LAMP, NO_LAMP
from avperception.types import Float64, UInt8

Ids = NDArray[np.uint16]

_COARSE = 4  # glow and rain are soft: worked out on every 4th (2nd) pixel
_MIRROR = 8


def add_glow(picture: UInt8, ids: Ids, mesh: Mesh, K: Float64, strength: float) -> None:
    """Let the lamps that shine and are in view glow; `strength` 0-1, more in haze."""
    height, width = ids.shape
    layer = np.zeros((-(-height // _COARSE), -(-width // _COARSE), 3), np.uint8)
    centres = np.add.reduceat(mesh.points_camera, mesh.starts[:-1], axis=0) / np.diff(mesh.starts)[:, None]
    lit = 0
    for i in np.flatnonzero((mesh.lamp != NO_LAMP) & mesh.visible & (centres[:, 2] > NEAR)):
        kind = int(mesh.lamp[i])
        if kind not in LAMP_COLOURS or not mesh.solids[mesh.solid[i]].lamps:
            continue
        x, y = (int(v) for v in np.round(project(centres[i : i + 1], K)[0]))
        if not (0 <= x < width and 0 <= y < height) or ids[y, x] != FIRST_SOLID + mesh.solid[i]:
            continue
        towards = -float(mesh.normals[i] @ mesh.centres[i]) / max(float(np.linalg.norm(mesh.centres[i])), 0.1)
        size = (0.55 if kind == HEAD_LAMP else 0.3) * K[0, 0] / centres[i, 2] * max(towards, 0.1)
        radius = int(np.clip(size / _COARSE, 1, 12))
        colour = tuple(float(strength * c) for c in LAMP_COLOURS[kind])
        cv2.circle(layer, (x // _COARSE, y // _COARSE), radius, colour, -1)
        lit += 1
    if lit:
        layer = cv2.GaussianBlur(layer, (0, 0), 3.0)
        cv2.add(picture, cv2.resize(layer, (width, height), interpolation=cv2.INTER_LINEAR), picture)


def mirror_on_road(picture: UInt8, ids: Ids, horizon: float, wet: float) -> None:
    """Mix a blurred mirror image of what is above the `horizon` (a row) into the wet ground below it."""
    height, width = ids.shape
    small = cv2.resize(picture, (width // _MIRROR, height // _MIRROR), interpolation=cv2.INTER_AREA)
    rows = np.round(2 * horizon / _MIRROR - np.arange(small.shape[0])).astype(int)
    mirrored = cv2.blur(small[np.clip(rows, 0, small.shape[0] - 1)], (3, 9))
    mirrored = cv2.resize(mirrored, (width, height), interpolation=cv2.INTER_LINEAR)
    top = int(np.clip(horizon, 0, height - 1))
    ground = cv2.inRange(ids[top:], 0, FIRST_SOLID - 1)
    mixed = cv2.addWeighted(picture[top:], 1 - 0.42 * wet, mirrored[top:], 0.42 * wet, 0)
    cv2.copyTo(mixed, ground, picture[top:])


def add_rain(picture: UInt8, rain: float, rng: np.random.Generator) -> None:
    """Streaks of falling rain; `rain` 0-1."""
    height, width = picture.shape[:2]
    layer = np.zeros((height // 2, width // 2), np.uint8)
    count = int(rain * width * height / 2600)
    start = rng.uniform((0, -20), (width / 2, height / 2), (count, 2))
    length = rng.uniform(4, 22, count)
    slope = rng.normal(0.08, 0.03, count)
    end = start + np.stack([slope * length, length], axis=1)
    segments = np.stack([start, end], axis=1).astype(np.int32)
    for brightness, group in zip((16, 26, 40), np.array_split(segments, 3), strict=True):
        cv2.polylines(layer, list(group), False, brightness, 1, cv2.LINE_AA)
    whole = cv2.resize(layer, (width, height), interpolation=cv2.INTER_LINEAR)
    cv2.add(picture, cv2.cvtColor(whole, cv2.COLOR_GRAY2BGR), picture)


def add_lens_drops(picture: UInt8, rain: float, rng: np.random.Generator) -> None:
    """Drops on the lens, round and blurred; the same `rng` puts them in the same places."""
    height, width = picture.shape[:2]
    for _ in range(int(rain * rng.integers(3, 10))):
        radius = int(rng.uniform(0.008, 0.024) * width)
        x, y = int(rng.uniform(radius, width - radius)), int(rng.uniform(radius, height - radius))
        window = picture[max(y - radius, 0) : y + radius, max(x - radius, 0) : x + radius]
        blurred = cv2.blur(window, (radius | 1, radius | 1))
        mask = np.zeros(window.shape[:2], np.uint8)
        cv2.circle(mask, (mask.shape[1] // 2, mask.shape[0] // 2), radius - 1, 255, -1)
        cv2.copyTo(cv2.convertScaleAbs(blurred, alpha=1.08), mask, window)
