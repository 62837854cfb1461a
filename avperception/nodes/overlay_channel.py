"""One camera's overlay: gathers its image and results while somebody looks, draws and publishes them."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage
from sensor_msgs.msg import Image as ImageMessage
from vision_msgs.msg import Detection2DArray, LabelInfo
from visualization_msgs.msg import MarkerArray

from avperception.drawing.overlay import Scene3D, draw_overlay
from avperception.errors import MessageError
from avperception.nodes import qos
from avperception.nodes.conversions.headers import stamp_ns
from avperception.nodes.conversions.images import image_from_compressed, image_from_message, image_message
from avperception.nodes.conversions.results import (
    DetectedObjects,
    classes_from_message,
    detections_2d_from_message,
    lanes_from_message,
)
from avperception.nodes.on_demand import OnDemand, Wanted
from avperception.nodes.overlay_frames import FrameGatherer, OverlayFrame
from avperception.nodes.overlay_sight import CameraForm, CameraSight
from avperception.nodes.source import Source
from avperception.nodes.worker import Worker
from avperception.ops import cpu
from avperception.types import CameraResult, Float32, Image

NEAREST = 0.3
"""Depth [m] in front of the camera from which lane lines are drawn."""

FRAMES_WAITING = 1


class OverlayChannel:
    """Publishes `~/debug/CAM/overlay`; subscribes to what it draws only while that has subscribers.

    `perception` is the name of the perception node, `rate` how many pictures a second are drawn at most.
    """

    def __init__(
        self, node: Node, form: CameraForm, perception: str, rate: float, sight: CameraSight
    ) -> None:
        self.camera = camera = form.name
        self._form = form
        self._period_ns = round(1e9 / rate)
        self._sight = sight
        self._source = Source(f"{camera} overlay", node.get_logger())
        self._gatherer = FrameGatherer()
        self._classes: tuple[str, ...] = ()
        self._drawn_ns = 0
        topic = f"~/debug/{camera}/overlay"
        self._publisher = node.create_publisher(
            ImageMessage, topic, qos.result(), qos_overriding_options=qos.overridable()
        )
        image_type = CompressedImage if form.is_compressed else ImageMessage
        image = f"{perception}/input/{camera}/image_raw{'/compressed' if form.is_compressed else ''}"
        output = f"{perception}/output/{camera}"
        self._inputs = OnDemand(
            node,
            (
                Wanted(image_type, image, self._on_image, qos.sensor),
                Wanted(CameraInfo, f"{perception}/input/{camera}/camera_info", self._on_info, qos.sensor),
                Wanted(Detection2DArray, f"{output}/detections_2d", self._on_detections, qos.result),
                Wanted(ImageMessage, f"{output}/segmentation", self._on_mask, qos.result),
                Wanted(LabelInfo, f"{output}/label_info", self._on_labels, qos.latched),
            ),
        )
        self._worker: Worker[OverlayFrame] = Worker(
            f"{camera} overlay", self._handle, lambda frame: None, FRAMES_WAITING
        )

    @property
    def is_wanted(self) -> bool:
        """Whether somebody looks."""
        return bool(self._publisher.get_subscription_count())

    def follow_interest(self) -> None:
        """Subscribe if somebody looks, unsubscribe if nobody does."""
        if not self.is_wanted and self._inputs.is_on:
            self._gatherer.clear()
        self._inputs.switch(self.is_wanted)

    def add_objects(self, objects: DetectedObjects) -> None:
        """The 3D objects of a sweep have come."""
        self._gatherer.add_objects(objects, time.monotonic_ns())
        self._offer()

    def add_lanes(self, message: MarkerArray) -> None:
        """Lane lines have come, perhaps of this camera."""
        found = lanes_from_message(message, self.camera)
        if found is not None:
            self._gatherer.add_lanes(found)

    def stop(self) -> None:
        """Unsubscribe and end the thread."""
        self._inputs.switch(False)
        self._worker.stop()

    def _on_image(self, message: ImageMessage | CompressedImage) -> None:
        self._take_in(lambda: self._gatherer.add_image(stamp_ns(message.header), message))

    def _on_info(self, message: CameraInfo) -> None:
        try:
            self._sight.add(message)
        except MessageError as error:
            self._source.drop(error.reason, str(error))

    def _on_detections(self, message: Detection2DArray) -> None:
        found = detections_2d_from_message(message)
        now_ns = time.monotonic_ns()
        self._take_in(lambda: self._gatherer.add_detections(stamp_ns(message.header), found, now_ns))

    def _on_mask(self, message: ImageMessage) -> None:
        self._take_in(
            lambda: self._gatherer.add_mask(stamp_ns(message.header), image_from_message(message).data)
        )

    def _on_labels(self, message: LabelInfo) -> None:
        self._classes = classes_from_message(message)
        self._gatherer.has_masks = True

    def _take_in(self, add: Callable[[], None]) -> None:
        try:
            add()
        except MessageError as error:
            self._source.drop(error.reason, str(error))
            return
        self._offer()

    def _offer(self) -> None:
        """Hand what is complete to the thread that draws, not more often than `rate`."""
        now_ns = time.monotonic_ns()
        frame = self._gatherer.take(now_ns)
        if frame is not None and now_ns - self._drawn_ns >= 0.9 * self._period_ns:
            self._drawn_ns = now_ns
            self._worker.submit(frame)

    def _handle(self, frame: OverlayFrame) -> None:
        try:
            self._draw(frame)
        except MessageError as error:
            self._source.drop(error.reason, str(error))
        except Exception as error:  # a bad image must not end the thread; it is counted and shown
            self._source.drop("internal_error", f"an overlay could not be drawn: {error!r}")

    def _draw(self, frame: OverlayFrame) -> None:
        read = image_from_compressed if self._form.is_compressed else image_from_message
        image = read(frame.image)
        picture = draw_overlay(cpu.to_bgr(image), self._result(frame, image), self._scene(frame, image))
        message = image_message(picture, "bgr8")
        message.header = frame.image.header
        self._publisher.publish(message)

    def _result(self, frame: OverlayFrame, image: Image) -> CameraResult:
        assert frame.detections is not None
        mask = (
            frame.mask if frame.mask is not None and frame.mask.shape == (image.height, image.width) else None
        )
        return CameraResult(
            camera=self.camera,
            stamp_ns=frame.stamp_ns,
            frame_id=image.frame_id,
            width=image.width,
            height=image.height,
            detections=frame.detections,
            segmentation=None if mask is None else np.ascontiguousarray(mask),
            segmentation_classes=self._classes,
            lanes=self._lanes_in_image(frame, image),
        )

    def _scene(self, frame: OverlayFrame, image: Image) -> Scene3D | None:
        objects = frame.objects
        if objects is None:
            return None
        sight = self._sight.of(image, objects.frame_id, objects.stamp_ns)
        return Scene3D(*sight, detections=objects.detections) if sight else None

    def _lanes_in_image(self, frame: OverlayFrame, image: Image) -> tuple[Float32, ...]:
        if frame.lanes is None:
            return ()
        sight = self._sight.of(image, frame.lanes.frame_id, self._sight.taken_ns(frame.lanes.stamp_ns))
        if sight is None:
            return ()
        model, T_camera_lanes = sight
        lines = []
        for lane in frame.lanes.lines:
            points_camera = cpu.transform_points(lane, T_camera_lanes).astype(np.float64)
            points_camera = points_camera[points_camera[:, 2] > NEAREST]
            normalised = points_camera[:, :2] / points_camera[:, 2:]
            lines.append(cpu.distort(normalised, model.K, model.D, model.distortion_model).astype(np.float32))
        return tuple(line for line in lines if len(line) >= 2 and np.abs(line).max() < 1e5)
