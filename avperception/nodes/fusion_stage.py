"""Where cameras and lidar meet: synchronise, place, fuse, track, publish."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import PointCloud2
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from avperception.errors import GpuLostError, MessageError
from avperception.nodes.conversions.clouds import labelled_cloud_message
from avperception.nodes.conversions.detections import detections_3d_message
from avperception.nodes.conversions.markers import detection_markers
from avperception.nodes.output import Output
from avperception.nodes.parameters import NodeParameters
from avperception.nodes.process import end_at_once
from avperception.nodes.source import Source
from avperception.nodes.worker import Worker
from avperception.pipeline.fusion import CameraView, fuse
from avperception.pipeline.stopwatch import Stopwatch
from avperception.pipeline.synchronizer import Moment, SyncedSet, Synchronizer, SyncSettings
from avperception.pipeline.tracker import Tracker
from avperception.types import CameraDetections, FusedResult, LidarResult

SETS_WAITING = 4


class ViewProvider(Protocol):
    """Knows a camera's calibration and where it was."""

    def is_placed(self, result: CameraDetections, sweep_ns: int) -> bool:
        """Tell whether `view` has all that it needs; False while more may still come."""
        ...

    def view(self, result: CameraDetections, sweep_ns: int | None = None) -> CameraView:
        """Give calibration and place for a result, or raise a MessageError that says why not."""
        ...


@dataclass
class AnnouncedImage:
    """An image that fusion was told of; `is_awaited` until its detections or its loss are told, too."""

    camera: str
    stamp_ns: int
    is_awaited: bool = True


@dataclass(frozen=True)
class _Job:
    synced: SyncedSet
    views: list[CameraView]


class FusionStage:
    """Pairs results of all sources, fuses them on a thread of its own and publishes the 3D outputs.

    A set in which a camera's transform or calibration is missing waits for it until `sync.timeout` after
    its sweep came. What did not come in that time is not waited for again until it has come after all.
    """

    def __init__(
        self,
        node: LifecycleNode,
        parameters: NodeParameters,
        on_fused: Callable[[FusedResult], None],
    ) -> None:
        self.source = Source("fusion", node.get_logger())
        self._clock = node.get_clock()
        self._parameters = parameters
        self._target_frame = str(parameters["target_frame"])
        self._timeout_ns = parameters.nanoseconds("sync.timeout")
        self._on_fused = on_fused
        self._views: Mapping[str, ViewProvider] = {}
        self._given_up: dict[str, tuple[CameraDetections, int]] = {}
        self._lock = threading.Lock()
        self._synchronizer = Synchronizer(
            {camera: parameters.nanoseconds(f"{camera}.time_offset") for camera in parameters.cameras},
            SyncSettings(parameters.nanoseconds("sync.max_interval"), self._timeout_ns),
        )
        self._unplaced: deque[SyncedSet] = deque()
        self._tracker = Tracker(parameters.tracker)
        self._tracker_ns = 0
        self._detections = Output(node, Detection3DArray, "~/output/detections_3d")
        self._points = Output(node, PointCloud2, "~/output/points_labelled")
        self._markers = Output(node, MarkerArray, "~/markers")
        self.outputs = (self._detections, self._points, self._markers)
        self._worker: Worker[_Job] = Worker("fusion", self._handle, self._overload, SETS_WAITING)

    def connect(self, views: Mapping[str, ViewProvider]) -> None:
        """Tell where each camera's calibration is to be had."""
        self._views = views

    def announce(self, camera: str, stamp_ns: int) -> AnnouncedImage:
        """An image has arrived and is being worked on: `add_camera` or `withdraw` is to follow."""
        with self._lock:
            self._synchronizer.announce(camera, stamp_ns)
        return AnnouncedImage(camera, stamp_ns)

    def withdraw(self, image: AnnouncedImage) -> None:
        """An image failed; if its detections are there, because what came after them failed, they stay."""
        with self._lock:
            if image.is_awaited:
                image.is_awaited = False
                self._submit(self._synchronizer.withdraw(image.camera, image.stamp_ns))

    def add_camera(self, image: AnnouncedImage, detections: CameraDetections) -> None:
        """The detections of an image are there; only the first count."""
        with self._lock:
            if image.is_awaited:
                image.is_awaited = False
                self._submit(self._synchronizer.add_camera(detections))

    def announce_lidar(self, stamp_ns: int) -> Moment:
        """A sweep has arrived and is being prepared; gives what `add_lidar` needs of it."""
        with self._lock:
            return self._synchronizer.announce_lidar(stamp_ns)

    def add_lidar(self, result: LidarResult, moment: Moment, arrived_ns: int) -> None:
        """A sweep is ready."""
        self.source.receive()
        with self._lock:
            self._submit(self._synchronizer.add_lidar(result, moment, arrived_ns))

    def expire(self, now_ns: int) -> None:
        """Let go of sweeps that have waited long enough, or whose transforms have come."""
        with self._lock:
            self._submit(self._synchronizer.expire(now_ns))

    def restart_camera(self, camera: str) -> None:
        """This camera's stamps went backwards: what comes now is of another time."""
        with self._lock:
            self._synchronizer.restart_camera(camera)

    def restart_lidar(self) -> None:
        """The sweeps' stamps went backwards: what comes now is of another time."""
        with self._lock:
            self._synchronizer.restart_lidar()

    def restart_clock(self, now_ns: int) -> None:
        """The node's clock went backwards or became another one: what waits does so from now on."""
        with self._lock:
            self._synchronizer.restart_clock(now_ns)
            self._unplaced = deque(replace(synced, arrived_ns=now_ns) for synced in self._unplaced)

    @property
    def is_idle(self) -> bool:
        return self._worker.is_idle

    def stop(self) -> None:
        """End the thread and take the topics back."""
        self._worker.stop()
        for output in self.outputs:
            output.destroy()

    def _submit(self, sets: list[SyncedSet]) -> None:
        """Hand on all sets, in their order, whose cameras' places are known or not waited for."""
        self._unplaced.extend(sets)
        now_ns = self._clock.now().nanoseconds if self._unplaced else 0
        while self._unplaced:
            synced = self._unplaced[0]
            is_late = now_ns - synced.arrived_ns >= self._timeout_ns
            try:
                job = self._place(synced, is_late or len(self._unplaced) > SETS_WAITING)
                if job is None:
                    return
                self._worker.submit(job)
            except Exception as error:  # a sensor's thread must not end by it; it is counted and shown
                self.source.drop("internal_error", f"finding the cameras of a sweep failed: {error!r}")
            self._unplaced.popleft()

    def _place(self, synced: SyncedSet, is_last_try: bool) -> _Job | None:
        """Find where each camera was; None while that is waited for."""
        unplaced = self._find_unplaced(synced)
        if not is_last_try and any(self._is_waited_for(result) for result in unplaced):
            return None
        self._given_up = {result.camera: (result, synced.lidar.stamp_ns) for result in unplaced}
        return _Job(synced, self._find_views(synced))

    def _find_unplaced(self, synced: SyncedSet) -> list[CameraDetections]:
        sweep_ns = synced.lidar.stamp_ns
        return [r for r in synced.cameras if not self._views[r.camera].is_placed(r, sweep_ns)]

    def _is_waited_for(self, result: CameraDetections) -> bool:
        """Tell whether a camera's place can be expected: what was given up before has come after all."""
        before = self._given_up.get(result.camera)
        return before is None or self._views[result.camera].is_placed(*before)

    def _find_views(self, synced: SyncedSet) -> list[CameraView]:
        views = []
        for result in synced.cameras:
            try:
                views.append(self._views[result.camera].view(result, synced.lidar.stamp_ns))
            except MessageError as error:
                self.source.drop(f"{error.reason}_{result.camera}", f"camera {result.camera}: {error}")
        return views

    def _overload(self, job: _Job) -> None:
        self.source.drop("overload", "sweeps come faster than they are fused: the oldest was dropped")

    def _handle(self, job: _Job) -> None:
        try:
            self._fuse(job)
        except GpuLostError as error:
            end_at_once(str(error))
        except Exception as error:  # a bad set must not end the thread; it is counted and shown
            self.source.drop("internal_error", f"fusing a sweep failed: {error!r}")

    def _fuse(self, job: _Job) -> None:
        synced = job.synced
        for camera in synced.missing:
            self.source.drop(
                f"missing_{camera}", f"no image of camera {camera} for a sweep: fused without it"
            )
        stopwatch = Stopwatch()
        with stopwatch.stage("fusion"):
            detections = fuse(synced.lidar, job.views, self._parameters.fusion)
        with stopwatch.stage("tracker"):
            if synced.lidar.stamp_ns < self._tracker_ns:
                self._tracker.reset()
            self._tracker_ns = synced.lidar.stamp_ns
            detections = self._tracker.update(detections, synced.lidar.stamp_ns)
        result = FusedResult(
            stamp_ns=synced.lidar.stamp_ns,
            frame_id=self._target_frame,
            detections=detections,
            lidar=synced.lidar,
            cameras=synced.cameras,
            missing=synced.missing,
            stage_ms={**synced.lidar.stage_ms, **stopwatch.stage_ms},
        )
        start_ns = time.perf_counter_ns()
        self._publish(result)
        publish_ms = (time.perf_counter_ns() - start_ns) / 1e6
        self.source.process({**stopwatch.stage_ms, "fusion_publish": publish_ms})

    def _publish(self, result: FusedResult) -> None:
        self._on_fused(result)
        for output, make in (
            (self._detections, detections_3d_message),
            (self._points, labelled_cloud_message),
            (self._markers, detection_markers),
        ):
            if output.is_wanted:
                output.publish(make(result))
