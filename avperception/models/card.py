"""The model card: what a network is, what it eats, and what its outputs mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Task = Literal["detection", "segmentation"]
Colour = Literal["rgb", "bgr"]
Resize = Literal["letterbox", "stretch"]
Anchor = Literal["top_left", "center"]
Decoder = Literal["yolox", "argmax"]

BACKGROUND = "background"
"""Name of the class of everything else; its channel never overwrites what an earlier output said."""


@dataclass(frozen=True)
class InputSpec:
    """How an image becomes the input `tensor`, (1, 3, height, width), of a network.

    The image is resized with its aspect ratio kept (`letterbox`, at the `anchor`, the rest filled with
    `pad_value`, in 0-255) or not (`stretch`). Channel c, in the order of `colour`, then becomes
    `(pixel * scale - mean[c]) / std[c]`; the pixel goes from 0 to 255.
    """

    tensor: str
    colour: Colour
    resize: Resize
    anchor: Anchor
    pad_value: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: float

    @property
    def keeps_pixels(self) -> bool:
        """Whether the network takes the pixels as they are, 0 to 255."""
        return (self.scale, self.mean, self.std) == (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class DecoderSpec:
    """What the outputs mean: `outputs` maps each tensor that is read to the classes of its channels.

    - `yolox`: one tensor (1, anchor points, 5 + classes): centre x y, log width, log height in grid units,
      objectness, class scores (YOLOX, Ge et al. 2021, arXiv:2107.08430);
    - `argmax`: one or more tensors of logits (1, channels, height, width), merged in order: a later
      tensor's classes are drawn over an earlier one's, but for `background`.
    """

    name: Decoder
    outputs: Mapping[str, tuple[str, ...]]

    @property
    def output(self) -> str:
        """The first output tensor; the only one of a detector."""
        return next(iter(self.outputs))


@dataclass(frozen=True)
class ModelCard:
    """A network's file, its origin and licence, and all that the pipeline needs to use it.

    `path` is the card's own file; `file` is the network's, `sha256` its digest in 64 hexadecimal digits.
    A class id is a position in `classes`. `lane_class` names the class of lane lines, if there is one.
    """

    path: Path
    name: str
    file: str
    sha256: str
    source_url: str | None
    licence: str
    task: Task
    input: InputSpec
    decoder: DecoderSpec
    classes: tuple[str, ...]
    lane_class: str | None = None
