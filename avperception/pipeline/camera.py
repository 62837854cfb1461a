"""One camera's way from the image to its result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avperception.errors import MessageError
from avperception.ops.cpu import Rectification, is_pinhole, unpack_lanes
from avperception.ops.encodings import check_image
from avperception.pipeline.detector import Detector, DetectorSettings
from avperception.pipeline.device import Device, Frame, FrameRunner
from avperception.pipeline.network import Network
from avperception.pipeline.segmenter import Segmenter
from avperception.types import CameraModel, CameraResult, Detections2D, Image, without_pixels

DetectionsCallback = Callable[[Detections2D], None]
"""Called with the detections of an image, which may be long before the rest of its result."""

_NO_DETECTIONS = Detections2D(
    np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), ()
)


class CameraPipeline:
    """Runs the detector and the segmenter, each optional, on the images of one camera.

    As many frames are under way as are worth it on the device. One thread submits, one (it may be the
    same) takes the results, in the same order; each camera has its own pipeline.
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
        self.image_memory = device.make_image_memory()
        """Makes memory for images, which are taken from there without a copy; None where any will do."""
        self._rectification: Rectification | None = None
        self._slots = [
            _FrameSlot(name, detector, segmenter, settings, device) for _ in range(device.frames_at_once)
        ]
        self._free: SimpleQueue[_FrameSlot] = SimpleQueue()
        for slot in self._slots:
            self._free.put(slot)

    @property
    def frames_at_once(self) -> int:
        """Results that may be waited for at the same time; one more submit would wait."""
        return len(self._slots)

    @property
    def runners(self) -> tuple[FrameRunner, ...]:
        """What runs the frames, one for each that is under way at once."""
        return tuple(slot.runner for slot in self._slots)

    @property
    def captures(self) -> int:
        """How often the work was captured into a graph: once a slot, and again for each change of layout."""
        return sum(runner.captures for runner in self.runners)

    def submit(
        self,
        image: Image,
        on_detections: DetectionsCallback = lambda detections: None,
        *,
        segment: bool = True,
        camera: CameraModel | None = None,
    ) -> PendingResult:
        """Begin with an image, once a frame before is done with.

        Its pixels may be changed after this returns, but not those of a read-only array in `image_memory`
        nor the file of a JPEG image: these are held, and read from where they lie until the result is there.
        Without `segment` the mask and the lane lines are left out and cost nothing. With `camera` the
        networks see the image rectified (`ops.cpu.Rectification`); results are in pixels of the original all
        the same, unlabelled where the rectified one does not show it. On a GPU a change of either captures
        the work anew.
        Every result must be taken. Raises MessageError for an image that cannot be converted or is not of
        the camera's size, and EngineError when a network fails.
        """
        check_image(image)
        rectification = self._rectify(image, camera) if camera else None
        slot = self._free.get()
        try:
            slot.launch(image, on_detections, segment, rectification)
        except BaseException:
            self._free.put(slot)
            raise
        return PendingResult(slot, self._free)

    def process(
        self,
        image: Image,
        on_detections: DetectionsCallback = lambda detections: None,
        *,
        segment: bool = True,
        camera: CameraModel | None = None,
    ) -> CameraResult:
        """Detect, segment and find the lane lines in one image; takes and raises what `submit` does."""
        return self.submit(image, on_detections, segment=segment, camera=camera).result()

    def _rectify(self, image: Image, camera: CameraModel) -> Rectification | None:
        """Give what rectifies an image of a camera, the same one as long as its calibration stays."""
        if (camera.width, camera.height) != (image.width, image.height):
            raise MessageError(
                "camera_info_size",
                f"camera_info is for {camera.width}x{camera.height} pixels, ROI and binning applied, the "
                f"image to be rectified has {image.width}x{image.height}: let both come from one driver",
            )
        if is_pinhole(camera.D, camera.distortion_model):
            return None
        if self._rectification is None or not self._rectification.is_of(camera):
            self._rectification = Rectification(camera)
        return self._rectification


class PendingResult:
    """The result of an image that is under way."""

    def __init__(self, slot: _FrameSlot, free: SimpleQueue[_FrameSlot]) -> None:
        self._slot = slot
        self._free = free

    def result(self) -> CameraResult:
        """Wait for the result, once; raises EngineError when the device failed."""
        try:
            make_result = self._slot.wait()
        finally:  # the next image can begin while this result is made
            self._free.put(self._slot)
        return make_result()


class _FrameSlot:
    """The networks' buffers and the results of one frame under way."""

    def __init__(
        self,
        name: str,
        detector: Network | None,
        segmenter: Network | None,
        settings: DetectorSettings,
        device: Device,
    ) -> None:
        self._name = name
        self._settings = settings
        self._detector = Detector(detector, settings, device) if detector else None
        self._segmenter = Segmenter(segmenter, device) if segmenter else None
        # What is to be done for the next frame. The runner knows this list and not the slot: both would
        # refer to each other and outlive their camera for a while.
        self._tasks: list[Callable[[Frame], None]] = []
        self.runner = device.make_runner(partial(_enqueue, self._tasks))
        self._image: Image | None = None
        self._detections = _NO_DETECTIONS
        self._delivered: dict[str, NDArray[Any]] = {}
        self._started_ns = 0

    def launch(
        self,
        image: Image,
        on_detections: DetectionsCallback,
        segment: bool,
        rectification: Rectification | None,
    ) -> None:
        """Begin with an image."""
        tasks = (self._detector, self._segmenter if segment else None)
        self._tasks[:] = [partial(task.enqueue, rectification=rectification) for task in tasks if task]
        self._started_ns = time.perf_counter_ns()
        # What the result needs of the image; its pixels belong to whoever gave them.
        self._image = without_pixels(image)
        self._detections, self._delivered = _NO_DETECTIONS, {}

        def take(name: str, array: NDArray[Any]) -> None:
            self._delivered[name] = array
            if self._detector and name == Detector.result:
                self._detections = self._detector.unpack(array, rectification)
                on_detections(self._detections)

        settings = (self._settings.score_threshold, self._settings.nms_threshold, segment, rectification)
        self.runner.launch(image, (image.encoding, image.width, image.height, *settings), take)

    def wait(self) -> Callable[[], CameraResult]:
        """Wait until the device is done with the image; what is given makes the result."""
        stage_ms = dict(self.runner.wait())
        assert self._image is not None
        return partial(
            self._result, self._image, self._detections, self._delivered, stage_ms, self._started_ns
        )

    def _result(
        self,
        image: Image,
        detections: Detections2D,
        delivered: Mapping[str, NDArray[Any]],
        stage_ms: dict[str, float],
        started_ns: int,
    ) -> CameraResult:
        lanes = delivered.get(Segmenter.lanes_result)
        lines = () if lanes is None else unpack_lanes(lanes)
        stage_ms["camera"] = (time.perf_counter_ns() - started_ns) / 1e6
        return CameraResult(
            camera=self._name,
            stamp_ns=image.stamp_ns,
            frame_id=image.frame_id,
            width=image.width,
            height=image.height,
            detections=detections,
            segmentation=delivered.get(Segmenter.result),
            segmentation_classes=self._segmenter.classes if self._segmenter else (),
            lanes=lines,
            stage_ms=stage_ms,
        )


def _enqueue(tasks: Sequence[Callable[[Frame], None]], frame: Frame) -> None:
    """Put all that is to be done for a frame on the device."""
    frame.fork(*(partial(task, frame) for task in tasks))
