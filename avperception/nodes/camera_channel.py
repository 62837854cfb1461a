"""One camera's way through the node: subscriptions, its worker, its outputs and its calibration."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage
from sensor_msgs.msg import Image as ImageMessage
from vision_msgs.msg import Detection2DArray, LabelInfo
from visualization_msgs.msg import MarkerArray

from avperception.errors import AvperceptionError, MessageError, TransformError
from avperception.nodes import qos
from avperception.nodes.conversions.cameras import camera_model_from_message
from avperception.nodes.conversions.detections import detections_2d_message, label_info_message
from avperception.nodes.conversions.headers import header_message, stamp_ns
from avperception.nodes.conversions.images import image_from_compressed, image_from_message, image_message
from avperception.nodes.conversions.markers import lane_markers
from avperception.nodes.ego_motion import EgoMotion
from avperception.nodes.fusion_stage import FusionStage
from avperception.nodes.input import Input
from avperception.nodes.output import Output
from avperception.nodes.parameters import NodeParameters
from avperception.nodes.source import Source
from avperception.nodes.stamps import StampCheck
from avperception.nodes.worker import Worker
from avperception.pipeline.camera import CameraPipeline
from avperception.pipeline.fusion import CameraView
from avperception.pipeline.lanes import lane_on_ground
from avperception.types import CameraModel, CameraResult, Image

IMAGES_WAITING = 2
CALIBRATIONS_KEPT = 16


@dataclass(frozen=True)
class _Job:
    message: ImageMessage | CompressedImage
    stamp_ns: int
    start_ns: int


class CameraChannel:
    """Takes one camera's images, runs its pipeline on a thread of its own and publishes the 2D outputs."""

    def __init__(
        self,
        node: LifecycleNode,
        parameters: NodeParameters,
        pipeline: CameraPipeline,
        ego_motion: EgoMotion,
        fusion: FusionStage,
        on_result: Callable[[CameraResult, Image], None],
    ) -> None:
        name = pipeline.name
        self.name = name
        self.source = Source(f"{name} camera", node.get_logger())
        self.info_source = Source(f"{name} camera_info", node.get_logger())
        self._parameters = parameters
        self._target_frame = str(parameters["target_frame"])
        self._pipeline = pipeline
        self._ego_motion = ego_motion
        self._fusion = fusion
        self._on_result = on_result
        self._stamps = StampCheck(self.source, node.get_clock(), "image")
        self._offset_ns = parameters.nanoseconds(f"{name}.time_offset")
        self._is_rectified = bool(parameters[f"{name}.rectified"])
        self._form: tuple[str, ...] | None = None
        self._calibrations: OrderedDict[int, CameraModel] = OrderedDict()
        self._latest: CameraModel | None = None
        self._label_info_sent = False
        self._compressed = parameters[f"{name}.transport"] == "compressed"
        self._detections = Output(node, Detection2DArray, f"~/output/{name}/detections_2d")
        self._segmentation = Output(node, ImageMessage, f"~/output/{name}/segmentation")
        self._label_info = Output(node, LabelInfo, f"~/output/{name}/label_info", qos.latched())
        self._lanes = Output(node, MarkerArray, "~/output/lanes")
        self.outputs = (self._detections, self._segmentation, self._label_info, self._lanes)
        image_topic = f"~/input/{name}/image_raw"
        image = (
            Input(node, CompressedImage, f"{image_topic}/compressed", self._on_image)
            if self._compressed
            else Input(node, ImageMessage, image_topic, self._on_image)
        )
        self.inputs = (image, Input(node, CameraInfo, f"~/input/{name}/camera_info", self._on_info))
        self._worker: Worker[_Job] = Worker(name, self._handle, self._overload, IMAGES_WAITING)

    @property
    def is_idle(self) -> bool:
        return self._worker.is_idle

    def stop(self) -> None:
        """End the subscriptions and the thread and take the topics back."""
        for entry in self.inputs:
            entry.stop()
        self._worker.stop()
        for output in self.outputs:
            output.destroy()

    def is_placed(self, result: CameraResult, sweep_ns: int) -> bool:
        """Tell whether calibration, transforms and odometry for a result are known, or still to come."""
        model = self._model(result)
        if model is None:
            return False
        frame_id = result.frame_id or model.frame_id
        return self._ego_motion.is_known(frame_id, result.stamp_ns + self._offset_ns, sweep_ns)

    def view(self, result: CameraResult, sweep_ns: int | None = None) -> CameraView:
        """Give the calibration and place of the camera for one result.

        The place is the camera's at the image's time, in the target frame at the sweep's; at the image's
        without one. Raises MessageError `no_camera_info`, `camera_info_size` or `no_transform`.
        """
        model = self._model(result)
        if model is None:
            raise MessageError("no_camera_info", "no camera_info has come yet: no 3D from this camera")
        if (model.width, model.height) != (result.width, result.height):
            raise MessageError(
                "camera_info_size",
                f"camera_info is for {model.width}x{model.height} pixels, ROI and binning applied, the image "
                f"has {result.width}x{result.height}: let both come from one driver, scale K with the image",
            )
        taken_ns = result.stamp_ns + self._offset_ns
        try:
            T_camera_target = self._ego_motion.T_camera_target(
                result.frame_id or model.frame_id, taken_ns, taken_ns if sweep_ns is None else sweep_ns
            )
        except TransformError as error:
            raise MessageError("no_transform", str(error)) from error
        return CameraView(result, model, T_camera_target)

    def _model(self, result: CameraResult) -> CameraModel | None:
        return self._calibrations.get(result.stamp_ns, self._latest)

    def _on_info(self, message: CameraInfo) -> None:
        self.info_source.receive()
        try:
            model = camera_model_from_message(message, self._is_rectified)
            self._calibrations[stamp_ns(message.header)] = model
        except MessageError as error:
            self.info_source.drop(error.reason, str(error))
            return
        self._latest = model
        while len(self._calibrations) > CALIBRATIONS_KEPT:
            self._calibrations.popitem(last=False)

    def _on_image(self, message: ImageMessage | CompressedImage) -> None:
        self.source.receive()
        stamp = self._stamps.take(message.header)
        if stamp is None:
            return
        if stamp.went_back:
            self._fusion.restart_camera(self.name)
        self._fusion.announce(self.name, stamp.ns)
        self._worker.submit(_Job(message, stamp.ns, time.perf_counter_ns()))

    def _overload(self, job: _Job) -> None:
        self.source.drop("overload", "images come faster than they are worked on: the oldest was dropped")
        self._fusion.withdraw(self.name, job.stamp_ns)

    def _handle(self, job: _Job) -> None:
        try:
            image = self._image(job.message)
            result = self._pipeline.process(image)
        except MessageError as error:
            self._fail(job, error.reason, str(error))
        except AvperceptionError as error:
            self._fail(job, "network_failed", str(error))
        except Exception as error:  # a bad image must not end the thread; it is counted and shown
            self._fail(job, "internal_error", f"an image could not be worked on: {error!r}")
        else:
            self._deliver(job, image, result)

    def _fail(self, job: _Job, reason: str, text: str) -> None:
        self.source.drop(reason, text)
        self._fusion.withdraw(self.name, job.stamp_ns)

    def _image(self, message: ImageMessage | CompressedImage) -> Image:
        image = image_from_compressed(message) if self._compressed else image_from_message(message)
        form = (f"{image.width}x{image.height}", image.encoding, f"in frame {image.frame_id!r}")
        if self._form not in (None, form):
            before, now = (" ".join(entry) for entry in (self._form or (), form))
            self.source.note(
                "image_changed",
                f"images were {before} and are {now} now: the driver was set anew, or two share the topic",
            )
        self._form = form
        return image

    def _deliver(self, job: _Job, image: Image, result: CameraResult) -> None:
        start_ns = time.perf_counter_ns()
        try:
            self._publish(result)
            self._on_result(result, image)
        except Exception as error:  # fusion can still use the result
            self.source.drop("publish_failed", f"a result could not be published: {error!r}")
        self._fusion.add_camera(result)
        end_ns = time.perf_counter_ns()
        own_ms = {
            "camera_publish": (end_ns - start_ns) / 1e6,
            "camera_latency": (end_ns - job.start_ns) / 1e6,
        }
        self.source.process({**result.stage_ms, **own_ms})

    def _publish(self, result: CameraResult) -> None:
        if self._detections.is_wanted:
            self._detections.publish(detections_2d_message(result))
        if result.segmentation is not None:
            self._publish_label_info(result)
            if self._segmentation.is_wanted:
                message = image_message(result.segmentation, "mono8")
                message.header = header_message(result.stamp_ns, result.frame_id)
                self._segmentation.publish(message)
            if self._lanes.is_wanted:
                self._publish_lanes(result)

    def _publish_label_info(self, result: CameraResult) -> None:
        if not self._label_info_sent:
            info = label_info_message(result.segmentation_classes, result.stamp_ns, result.frame_id)
            self._label_info.publish(info)
            self._label_info_sent = True

    def _publish_lanes(self, result: CameraResult) -> None:
        try:
            view = self.view(result)
        except MessageError as error:
            self.source.drop(f"{error.reason}_lanes", f"lanes are not published: {error}")
            return
        T_target_camera = np.linalg.inv(view.T_camera_target).astype(np.float64)
        reach = self._parameters.lane_distance
        lanes = [lane_on_ground(lane, view.camera, T_target_camera, reach) for lane in result.lanes]
        lanes = [lane for lane in lanes if len(lane) >= 2]
        self._lanes.publish(lane_markers(self.name, lanes, result.stamp_ns, self._target_frame))
