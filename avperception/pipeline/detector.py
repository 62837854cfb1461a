"""Object detection in one image: preprocess, network, decode, non-maximum suppression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avperception.ops.placement import Placement
from avperception.pipeline.device import Device
from avperception.pipeline.network import Network, NetworkRunner
from avperception.pipeline.stopwatch import Stopwatch
from avperception.types import Detections2D, Image

CANDIDATE_CAPACITY = 1024
"""Candidates that take part in non-maximum suppression; a street scene has a few hundred at most."""


@dataclass
class DetectorSettings:
    """Thresholds that may change while the detector runs, both within [0, 1]."""

    score_threshold: float = 0.3
    nms_threshold: float = 0.45


class Detector:
    """A YOLOX-form detector of one camera."""

    def __init__(self, network: Network, settings: DetectorSettings, device: Device) -> None:
        self._settings = settings
        self._runner = NetworkRunner(network, device)
        self._output = self._runner.context.outputs[network.card.decoder.output]
        height, width = self._runner.input_height, self._runner.input_width
        strides = device.ops.yolox_strides(height, width, self._output.shape[1])
        self._cells, self._strides = device.ops.yolox_grid(height, width, strides)

    def __call__(self, image: Image, stopwatch: Stopwatch) -> Detections2D:
        """Detect the objects in an image; boxes are in its own pixels."""
        placement = self._runner.place(image)
        with stopwatch.stage("detector_preprocess"):
            self._runner.preprocess(image, placement)
        with stopwatch.stage("detector_network"):
            self._runner.context.execute()
        with stopwatch.stage("detector_decode"):
            return self._decode(image, placement)

    def _decode(self, image: Image, placement: Placement) -> Detections2D:
        ops = self._runner.device.ops
        boxes, scores, class_ids = ops.decode_yolox(
            self._output[0], self._cells, self._strides, self._settings.score_threshold
        )
        kept = ops.non_maximum_suppression(
            boxes, scores, class_ids, self._settings.nms_threshold, CANDIDATE_CAPACITY
        )
        boxes = ops.boxes_to_image(boxes[kept], placement, image.width, image.height)
        # A box that lay in the padding alone has no area left inside the image.
        visible = np.flatnonzero((boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1))
        return Detections2D(
            boxes[visible], scores[kept][visible], class_ids[kept][visible], self._runner.card.classes
        )
