"""Semantic segmentation of one image: preprocess, network, argmax, back to the image's size, lane lines."""

from __future__ import annotations

from avperception.models.card import BACKGROUND
from avperception.ops.cpu import Rectification
from avperception.pipeline.device import Device, Frame
from avperception.pipeline.network import Network, NetworkRunner
from avperception.types import UNLABELLED, Array


class Segmenter:
    """A per-pixel classifier of one camera, with one or several logit outputs."""

    result = "segmentation"
    lanes_result = "lanes"

    def __init__(self, network: Network, device: Device) -> None:
        self._runner = NetworkRunner(network)
        card = network.card
        self.classes = card.classes
        self.lane_id = card.classes.index(card.lane_class) if card.lane_class else None
        self._outputs = [self._runner.context.outputs[name] for name in card.decoder.outputs]
        ids = {name: class_id for class_id, name in enumerate(card.classes)}
        self._class_ids: list[list[int | None]] = []
        for position, channels in enumerate(card.decoder.outputs.values()):
            self._class_ids.append(
                [None if position and name == BACKGROUND else ids[name] for name in channels]
            )
        self._labels = device.full(self._outputs[0].shape[2:], UNLABELLED)

    def enqueue(self, frame: Frame, rectification: Rectification | None = None) -> None:
        """Put on the device what labels every pixel of a frame's image and traces its lane lines.

        With a rectification the network sees the image rectified; mask and lane lines are the original's.
        """
        image, ops = frame.image, frame.ops
        placement = self._runner.place(image)
        with frame.stage("segmenter_preprocess"):
            self._runner.preprocess(frame, placement, rectification)
        with frame.stage("segmenter_network"):
            frame.execute(self._runner.context)
        with frame.stage("segmenter_argmax"):
            ops.argmax_labels(self._outputs, self._class_ids, self._labels)
            if rectification is None:
                segmentation = ops.labels_to_image(self._labels, placement, image.width, image.height)
            else:
                segmentation = ops.distort_labels(self._labels, rectification.label_map(placement))
        # A mask takes its time on the way to the host; the lane lines are traced meanwhile.
        frame.fork(
            lambda: frame.give(self.result, segmentation),
            lambda: self._trace_lanes(frame, segmentation),
        )

    def _trace_lanes(self, frame: Frame, segmentation: Array) -> None:
        if self.lane_id is None:
            return
        with frame.stage("lanes"):
            packed = frame.ops.trace_lanes(segmentation, self.lane_id)
        frame.give(self.lanes_result, packed)
