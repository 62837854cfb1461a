"""A network in use by one camera: its card, its execution context, and the image put into its input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avperception.engines.engine import Engine
from avperception.models.card import ModelCard
from avperception.ops.cpu import Rectification, rows_sampled
from avperception.ops.encodings import PIXEL_FORMATS
from avperception.ops.placement import Placement, letterbox, stretch
from avperception.pipeline.device import Frame
from avperception.types import Image


@dataclass(frozen=True)
class Network:
    """A model card and the engine made from its file; shared by every camera that uses it.

    `coverage` is what the engine was calibrated with, as its manifest has it; None if it was not.
    """

    card: ModelCard
    engine: Engine
    coverage: Mapping[str, Any] | None = None


class NetworkRunner:
    """Preprocesses images into one network's input and runs it; the buffers belong to this runner."""

    def __init__(self, network: Network) -> None:
        self.card = network.card
        self.context = network.engine.create_context()
        spec = self.card.input
        self._tensor = self.context.inputs[spec.tensor]
        self.input_height, self.input_width = self._tensor.shape[2:]
        std = np.asarray(spec.std, dtype=np.float32)
        self._gain = np.float32(spec.scale) / std
        self._offset = -np.asarray(spec.mean, dtype=np.float32) / std

    def place(self, image: Image) -> Placement:
        """Say where this image will lie in the network's input."""
        source, target = (image.width, image.height), (self.input_width, self.input_height)
        if self.card.input.resize == "stretch":
            return stretch(source, target)
        return letterbox(source, target, centred=self.card.input.anchor == "center")

    def preprocess(self, frame: Frame, placement: Placement, rectification: Rectification | None) -> None:
        """Write the frame's image, rectified if wanted, into the network's input tensor as the card asks."""
        spec = self.card.input
        # A row of the rectified image is bent over many rows of the original: all are read.
        frame.reads(None if rectification else _rows_read(frame.image, placement))
        frame.ops.preprocess(
            frame.image,
            self._tensor,
            placement,
            colour=spec.colour,
            gain=self._gain,
            offset=self._offset,
            pad_value=spec.pad_value,
            sampling=rectification.sampling_map(placement) if rectification else None,
        )


def _rows_read(image: Image, placement: Placement) -> NDArray[np.int64] | None:
    """The rows of an image that its resizing reads, None where a pixel needs those around it too."""
    if PIXEL_FORMATS[image.encoding].conversion is not None:
        return None
    return rows_sampled(image.height, placement.height)
