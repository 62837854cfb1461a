"""Semantic segmentation of one image: preprocess, network, argmax, back to the image's size."""

from __future__ import annotations

import numpy as np

from avperception.models.card import BACKGROUND
from avperception.pipeline.device import Device
from avperception.pipeline.network import Network, NetworkRunner
from avperception.pipeline.stopwatch import Stopwatch
from avperception.types import UNLABELLED, Image, UInt8


class Segmenter:
    """A per-pixel classifier of one camera, with one or several logit outputs."""

    def __init__(self, network: Network, device: Device) -> None:
        self._runner = NetworkRunner(network, device)
        card = network.card
        self.classes = card.classes
        self._outputs = [self._runner.context.outputs[name] for name in card.decoder.outputs]
        ids = {name: class_id for class_id, name in enumerate(card.classes)}
        self._class_ids: list[list[int | None]] = []
        for position, channels in enumerate(card.decoder.outputs.values()):
            self._class_ids.append(
                [None if position and name == BACKGROUND else ids[name] for name in channels]
            )
        self._labels = np.full(self._outputs[0].shape[2:], UNLABELLED, dtype=np.uint8)

    def __call__(self, image: Image, stopwatch: Stopwatch) -> UInt8:
        """Label every pixel of the image: (height, width) uint8 class ids, at the image's own size."""
        ops = self._runner.device.ops
        placement = self._runner.place(image)
        with stopwatch.stage("segmenter_preprocess"):
            self._runner.preprocess(image, placement)
        with stopwatch.stage("segmenter_network"):
            self._runner.context.execute()
        with stopwatch.stage("segmenter_argmax"):
            ops.argmax_labels(self._outputs, self._class_ids, self._labels)
            return ops.labels_to_image(self._labels, placement, image.width, image.height)
