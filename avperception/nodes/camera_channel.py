"""One camera's way through the node: subscriptions, pipeline and outputs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage
from sensor_msgs.msg import Image as ImageMessage

from avperception.errors import AvperceptionError, GpuLostError, MessageError
from avperception.nodes.camera_outputs import CameraOutputs
from avperception.nodes.camera_views import CameraViews
from avperception.nodes.conversions.images import image_from_compressed, image_from_message
from avperception.nodes.ego_motion import EgoMotion
from avperception.nodes.fusion_stage import AnnouncedImage, FusionStage
from avperception.nodes.input import Input
from avperception.nodes.output import Output
from avperception.nodes.parameters import NodeParameters
from avperception.nodes.process import end_at_once
from avperception.nodes.source import Source
from avperception.nodes.stamps import StampCheck
from avperception.nodes.worker import Worker
from avperception.pipeline.camera import CameraPipeline, PendingResult
from avperception.pipeline.fusion import CameraView
from avperception.types import CameraDetections, CameraResult, Detections2D, Image

IMAGES_WAITING = 2
RESULTS_WAITING = 1000
"""More than a pipeline ever has under way: every result that was begun is taken."""


@dataclass(frozen=True)
class _Job:
    """An image that came; `stage_ms` is filled as its results come."""

    message: ImageMessage | CompressedImage
    announced: AnnouncedImage
    start_ns: int
    stage_ms: dict[str, float] = field(default_factory=dict)

    @property
    def age_ms(self) -> float:
        return (time.perf_counter_ns() - self.start_ns) / 1e6


@dataclass(frozen=True)
class _Running:
    """An image whose networks are under way."""

    job: _Job
    image: Image
    pending: PendingResult


class CameraChannel:
    """Takes one camera's images, runs its pipeline and publishes the 2D outputs, on two threads of its own.

    One begins with images as far as the device has room, one takes the results. Detections are published and
    given to fusion as soon as they are there, whatever the rest takes or comes to.
    """

    def __init__(
        self,
        node: LifecycleNode,
        parameters: NodeParameters,
        pipeline: CameraPipeline,
        ego_motion: EgoMotion,
        fusion: FusionStage,
        on_result: Callable[[CameraResult, Image], None],
        *,
        always_segment: bool,
    ) -> None:
        name = pipeline.name
        self.name = name
        self.source = Source(f"{name} camera", node.get_logger())
        self.info_source = Source(f"{name} camera_info", node.get_logger())
        self._pipeline = pipeline
        self._captures = pipeline.frames_at_once  # one each is as it should be
        self._fusion = fusion
        self._on_result = on_result
        self._always_segment = always_segment
        self._stamps = StampCheck(self.source, node.get_clock(), "image")
        self._form: tuple[str, ...] | None = None
        self._views = CameraViews(name, parameters, ego_motion, self.info_source)
        self._rectifies = bool(parameters[f"{name}.rectify"])
        self._outputs = CameraOutputs(node, name, parameters)
        self.is_compressed = parameters[f"{name}.transport"] == "compressed"
        image_topic, on_bad = f"~/input/{name}/image_raw", self.source.receive_bad
        image = (
            Input(node, CompressedImage, f"{image_topic}/compressed", self._on_image, on_bad=on_bad)
            if self.is_compressed
            else Input(
                node,
                ImageMessage,
                image_topic,
                self._on_image,
                on_bad=on_bad,
                make_memory=pipeline.image_memory,
            )
        )
        self.inputs = (image, Input(node, CameraInfo, f"~/input/{name}/camera_info", self._views.add))
        self._starter: Worker[_Job] = Worker(name, self._begin, self._overload, IMAGES_WAITING)
        self._finisher: Worker[_Running] = Worker(
            f"{name} results", self._finish, lambda running: None, RESULTS_WAITING
        )

    @property
    def outputs(self) -> tuple[Output, ...]:
        return self._outputs.all

    @property
    def is_idle(self) -> bool:
        # In the order of the work: what leaves the first is seen in the second.
        return self._starter.is_idle and self._finisher.is_idle

    def stop(self) -> None:
        """End the subscriptions and the threads and take the topics back."""
        for entry in self.inputs:
            entry.stop()
        self._starter.stop()
        self._finisher.stop(finish=True)
        self._outputs.destroy()

    def is_placed(self, result: CameraDetections, sweep_ns: int) -> bool:
        """Tell whether calibration, transforms and odometry for a result are known, or still to come."""
        return self._views.is_placed(result, sweep_ns)

    def view(self, result: CameraDetections, sweep_ns: int | None = None) -> CameraView:
        """Give the calibration and place of the camera for one result; see `CameraViews.view`."""
        return self._views.view(result, sweep_ns)

    def _on_image(self, message: ImageMessage | CompressedImage) -> None:
        self.source.receive()
        stamp = self._stamps.take(message.header)
        if stamp is None:
            return
        if stamp.went_back:
            self._fusion.restart_camera(self.name)
        announced = self._fusion.announce(self.name, stamp.ns)
        self._starter.submit(_Job(message, announced, time.perf_counter_ns()))

    def _overload(self, job: _Job) -> None:
        self.source.drop("overload", "images come faster than they are worked on: the oldest was dropped")
        self._fusion.withdraw(job.announced)

    def _begin(self, job: _Job) -> None:
        try:
            image = self._image(job.message)
            segment = self._always_segment or self._outputs.wants_segmentation
            camera = self._views.calibration(image) if self._rectifies else None
            deliver = partial(self._deliver_detections, job, image)
            pending = self._pipeline.submit(image, deliver, segment=segment, camera=camera)
            running = _Running(job, image, pending)
        except Exception as error:  # a bad image must not end the thread; it is counted and shown
            self._fail(job, error)
        else:
            self._finisher.submit(running)

    def _finish(self, running: _Running) -> None:
        try:
            result = running.pending.result()
        except Exception as error:  # nor must a failed network
            self._fail(running.job, error)
        else:
            self._deliver(running, result)

    def _fail(self, job: _Job, error: Exception) -> None:
        if isinstance(error, GpuLostError):
            end_at_once(str(error))
        if isinstance(error, MessageError):
            self.source.drop(error.reason, str(error))
        elif isinstance(error, AvperceptionError):
            self.source.drop("network_failed", str(error))
        else:
            self.source.drop("internal_error", f"an image could not be worked on: {error!r}")
        self._fusion.withdraw(job.announced)

    def _image(self, message: ImageMessage | CompressedImage) -> Image:
        image = image_from_compressed(message) if self.is_compressed else image_from_message(message)
        form = (f"{image.width}x{image.height}", image.encoding, f"in frame {image.frame_id!r}")
        if self._form not in (None, form):
            before, now = (" ".join(entry) for entry in (self._form or (), form))
            self.source.note(
                "image_changed",
                f"images were {before} and are {now} now: the driver was set anew, or two share the topic",
            )
        self._form = form
        return image

    def _deliver_detections(self, job: _Job, image: Image, detections: Detections2D) -> None:
        try:
            self._outputs.publish_detections(image, detections)
        except Exception as error:  # fusion can still use them
            self._count_unpublished(error)
        job.stage_ms["detections_latency"] = job.age_ms
        seen = CameraDetections(
            self.name, image.stamp_ns, image.frame_id, image.width, image.height, detections
        )
        self._fusion.add_camera(job.announced, seen)

    def _deliver(self, running: _Running, result: CameraResult) -> None:
        job, image = running.job, running.image
        start_ns = time.perf_counter_ns()
        self._note_limits(result)
        if job.announced.is_awaited:  # without a detector nothing was there sooner
            self._deliver_detections(job, image, result.detections)
        try:
            self._on_result(result, image)
            self._publish_rest(result)
        except Exception as error:  # a bad result must not end the thread
            self._count_unpublished(error)
        publish_ms = (time.perf_counter_ns() - start_ns) / 1e6
        own_ms = {"camera_publish": publish_ms, "camera_latency": job.age_ms}
        self.source.process({**result.stage_ms, **job.stage_ms, **own_ms})

    def _note_limits(self, result: CameraResult) -> None:
        if overflow := result.detections.overflow:
            self.source.note(
                "candidates_left_out",
                f"{overflow} candidates were too many, the weakest: raise detector.score_threshold",
            )
        if (captures := self._pipeline.captures) > self._captures:
            self.source.note(
                "recaptured",
                "the GPU's work was captured anew, for another form of images, threshold or calibration",
            )
            self._captures = captures

    def _publish_rest(self, result: CameraResult) -> None:
        self._outputs.publish_segmentation(result)
        if result.segmentation is not None and self._outputs.wants_lanes:
            try:
                view = self.view(result)
            except MessageError as error:
                self.source.drop(f"{error.reason}_lanes", f"lanes are not published: {error}")
                return
            self._outputs.publish_lanes(result.lanes, view)

    def _count_unpublished(self, error: Exception) -> None:
        self.source.drop("publish_failed", f"a result could not be published: {error!r}")
