"""One camera's way from the image to its result."""

from __future__ import annotations

import numpy as np

from avperception.pipeline.detector import Detector, DetectorSettings
from avperception.pipeline.device import Device
from avperception.pipeline.lanes import lane_lines
from avperception.pipeline.network import Network
from avperception.pipeline.segmenter import Segmenter
from avperception.pipeline.stopwatch import Stopwatch
from avperception.types import CameraResult, Detections2D, Float32, Image, UInt8


class CameraPipeline:
    """Runs the detector and the segmenter, each optional, on the images of one camera.

    Not safe for several threads at once: each camera has its own pipeline and its own worker.
    """

    def __init__(
        self,
        name: str,
        detector: Network | None,
        segmenter: Network | None,
        settings: DetectorSettings,
        device: Device,
    ) -> None:
        self.name = name
        self._device = device
        self._detector = Detector(detector, settings, device) if detector else None
        self._segmenter = Segmenter(segmenter, device) if segmenter else None
        lane_class = segmenter.card.lane_class if segmenter else None
        self._lane_id = segmenter.card.classes.index(lane_class) if segmenter and lane_class else None

    def process(self, image: Image) -> CameraResult:
        """Detect, segment and find the lane lines in one image.

        Raises MessageError for an image that cannot be converted and EngineError when a network fails.
        """
        stopwatch = Stopwatch()
        detections = Detections2D(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), ()
        )
        segmentation: UInt8 | None = None

        def detect() -> None:
            nonlocal detections
            if self._detector:
                detections = self._detector(image, stopwatch)

        def segment() -> None:
            nonlocal segmentation
            if self._segmenter:
                segmentation = self._segmenter(image, stopwatch)

        with stopwatch.stage("camera"):
            self._device.fork(detect, segment)
            lanes: tuple[Float32, ...] = ()
            if segmentation is not None and self._lane_id is not None:
                with stopwatch.stage("lanes"):
                    lanes = lane_lines(segmentation == self._lane_id)
        return CameraResult(
            camera=self.name,
            stamp_ns=image.stamp_ns,
            frame_id=image.frame_id,
            width=image.width,
            height=image.height,
            detections=detections,
            segmentation=segmentation,
            segmentation_classes=self._segmenter.classes if self._segmenter else (),
            lanes=lanes,
            stage_ms=stopwatch.stage_ms,
        )
