"""Object detection in one image: preprocess, network, decode, non-maximum suppression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avperception.ops.cpu import Rectification
from avperception.pipeline.device import Device, Frame
from avperception.pipeline.network import Network, NetworkRunner
from avperception.types import Detections2D, Float32, Int32

CANDIDATE_CAPACITY = 1024
"""Candidates that take part in non-maximum suppression; a street scene has a few hundred at most."""


@dataclass
class DetectorSettings:
    """Thresholds that may change while the detector runs, both within [0, 1]."""

    score_threshold: float = 0.3
    nms_threshold: float = 0.45


class Detector:
    """A YOLOX-form detector of one camera."""

    result = "detections"

    def __init__(self, network: Network, settings: DetectorSettings, device: Device) -> None:
        self._settings = settings
        self._runner = NetworkRunner(network)
        self._output = self._runner.context.outputs[network.card.decoder.output]
        height, width = self._runner.input_height, self._runner.input_width
        strides = device.ops.yolox_strides(height, width, self._output.shape[1])
        self._cells, self._strides = device.ops.yolox_grid(height, width, strides)

    def enqueue(self, frame: Frame, rectification: Rectification | None = None) -> None:
        """Put on the device what detects the objects in a frame's image; boxes are in the image's pixels.

        With a rectification the network sees the image rectified, and so do the boxes until `unpack`.
        """
        image, ops = frame.image, frame.ops
        placement = self._runner.place(image)
        with frame.stage("detector_preprocess"):
            self._runner.preprocess(frame, placement, rectification)
        with frame.stage("detector_network"):
            frame.execute(self._runner.context)
        with frame.stage("detector_decode"):
            boxes, scores, class_ids = ops.decode_yolox(
                self._output[0], self._cells, self._strides, self._settings.score_threshold
            )
            kept = ops.non_maximum_suppression(
                boxes, scores, class_ids, self._settings.nms_threshold, CANDIDATE_CAPACITY
            )
            packed = ops.pack_detections(boxes, scores, class_ids, kept, placement, image.width, image.height)
        frame.give(self.result, packed, early=True)

    def unpack(self, packed: Float32, rectification: Rectification | None = None) -> Detections2D:
        """Give the detections that a frame brought back as one array, in pixels of the original image."""
        candidates, count = int(packed[0, 0]), int(packed[0, 1])
        rows = packed[1 : 1 + count]
        if rectification:
            rows = _unrectified(rows, rectification)
        class_ids: Int32 = rows[:, 5].astype("int32")
        return Detections2D(
            rows[:, :4].copy(),
            rows[:, 4].copy(),
            class_ids,
            self._runner.card.classes,
            overflow=max(0, candidates - CANDIDATE_CAPACITY),
        )


def _unrectified(rows: Float32, rectification: Rectification) -> Float32:
    """Packed rows with their boxes in the original image; without those of which that has no pixel."""
    boxes = rectification.boxes_to_original(rows[:, :4])
    visible = (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
    return np.concatenate([boxes, rows[:, 4:]], axis=1)[visible]
