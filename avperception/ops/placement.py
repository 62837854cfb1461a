"""Where an image lies inside a network's input, and the way back from network pixels to image pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Placement:
    """The resized image takes `width` x `height` network pixels from (`left`, `top`).

    `scale_x` and `scale_y` are network pixels per image pixel, exact for the rounded size.
    """

    left: int
    top: int
    width: int
    height: int
    scale_x: float
    scale_y: float


def stretch(source: tuple[int, int], target: tuple[int, int]) -> Placement:
    """Fill `target` (width, height) with a `source` (width, height) image, its aspect ratio not kept."""
    return Placement(0, 0, *target, target[0] / source[0], target[1] / source[1])


def letterbox(source: tuple[int, int], target: tuple[int, int], centred: bool) -> Placement:
    """Fit `source` (width, height) into `target` with its aspect ratio kept, at the top left or centred."""
    scale = min(target[0] / source[0], target[1] / source[1])
    width = max(1, min(target[0], round(source[0] * scale)))
    height = max(1, min(target[1], round(source[1] * scale)))
    left = (target[0] - width) // 2 if centred else 0
    top = (target[1] - height) // 2 if centred else 0
    return Placement(left, top, width, height, width / source[0], height / source[1])
