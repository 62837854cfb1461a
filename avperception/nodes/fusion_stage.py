"""Where cameras and lidar meet: synchronise, fuse, track, publish."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import PointCloud2
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from avperception.errors import MessageError
from avperception.nodes.conversions.clouds import labelled_cloud_message
from avperception.nodes.conversions.detections import detections_3d_message
from avperception.nodes.conversions.markers import detection_markers
from avperception.nodes.output import Output
from avperception.nodes.parameters import NodeParameters
from avperception.nodes.source import Source
from avperception.nodes.worker import Worker
from avperception.pipeline.fusion import CameraView, fuse
from avperception.pipeline.stopwatch import Stopwatch
from avperception.pipeline.synchronizer import SyncedSet, Synchronizer, SyncSettings
from avperception.pipeline.tracker import Tracker
from avperception.types import CameraResult, FusedResult, LidarResult

SETS_WAITING = 4


class ViewProvider(Protocol):
    """Gives a camera's calibration and place for one of its results, or a MessageError that says why not."""

    def view(self, result: CameraResult) -> CameraView: ...


class FusionStage:
    """Pairs results of all sources, fuses them on a thread of its own and publishes the 3D outputs."""

    def __init__(
        self,
        node: LifecycleNode,
        parameters: NodeParameters,
        on_fused: Callable[[FusedResult], None],
    ) -> None:
        self.source = Source("fusion", node.get_logger())
        self._parameters = parameters
        self._target_frame = str(parameters["target_frame"])
        self._on_fused = on_fused
        self._views: Mapping[str, ViewProvider] = {}
        self._lock = threading.Lock()
        self._synchronizer = Synchronizer(
            {camera: parameters.nanoseconds(f"{camera}.time_offset") for camera in parameters.cameras},
            SyncSettings(parameters.nanoseconds("sync.max_interval"), parameters.nanoseconds("sync.timeout")),
        )
        self._tracker = Tracker(parameters.tracker)
        self._tracker_ns = 0
        self._detections = Output(node, Detection3DArray, "~/output/detections_3d")
        self._points = Output(node, PointCloud2, "~/output/points_labelled")
        self._markers = Output(node, MarkerArray, "~/markers")
        self.outputs = (self._detections, self._points, self._markers)
        self._worker: Worker[SyncedSet] = Worker("fusion", self._handle, self._overload, SETS_WAITING)

    def connect(self, views: Mapping[str, ViewProvider]) -> None:
        """Tell where each camera's calibration is to be had."""
        self._views = views

    def announce(self, camera: str, stamp_ns: int) -> None:
        """An image has arrived and is being worked on."""
        with self._lock:
            self._synchronizer.announce(camera, stamp_ns)

    def withdraw(self, camera: str, stamp_ns: int) -> None:
        """An announced image gave no result."""
        with self._lock:
            self._submit(self._synchronizer.withdraw(camera, stamp_ns))

    def add_camera(self, result: CameraResult) -> None:
        """An announced image's result is there."""
        with self._lock:
            self._submit(self._synchronizer.add_camera(result))

    def add_lidar(self, result: LidarResult, now_ns: int) -> None:
        """A sweep is ready."""
        self.source.receive()
        with self._lock:
            self._submit(self._synchronizer.add_lidar(result, now_ns))

    def expire(self, now_ns: int) -> None:
        """Let go of sweeps that have waited long enough."""
        with self._lock:
            self._submit(self._synchronizer.expire(now_ns))

    def restart_camera(self, camera: str) -> None:
        """This camera's stamps went backwards: its earlier results are of another time."""
        with self._lock:
            self._synchronizer.restart_camera(camera)

    def restart_lidar(self) -> None:
        """The sweeps' stamps or the clock went backwards: those that wait go out now."""
        with self._lock:
            self._submit(self._synchronizer.restart_lidar())

    @property
    def is_idle(self) -> bool:
        return self._worker.is_idle

    def stop(self) -> None:
        """End the thread and take the topics back."""
        self._worker.stop()
        for output in self.outputs:
            output.destroy()

    def _submit(self, sets: list[SyncedSet]) -> None:
        for synced in sets:
            self._worker.submit(synced)

    def _overload(self, synced: SyncedSet) -> None:
        self.source.drop("overload", "sweeps come faster than they are fused: the oldest was dropped")

    def _handle(self, synced: SyncedSet) -> None:
        try:
            self._fuse(synced)
        except Exception as error:  # a bad set must not end the thread; it is counted and shown
            self.source.drop("internal_error", f"fusing a sweep failed: {error!r}")

    def _fuse(self, synced: SyncedSet) -> None:
        for camera in synced.missing:
            self.source.drop(
                f"missing_{camera}", f"no image of camera {camera} for a sweep: fused without it"
            )
        stopwatch = Stopwatch()
        with stopwatch.stage("fusion"):
            detections = fuse(synced.lidar, self._find_views(synced), self._parameters.fusion)
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

    def _find_views(self, synced: SyncedSet) -> list[CameraView]:
        views = []
        for camera in synced.cameras:
            try:
                views.append(self._views[camera.camera].view(camera))
            except MessageError as error:
                self.source.drop(f"{error.reason}_{camera.camera}", f"camera {camera.camera}: {error}")
        return views

    def _publish(self, result: FusedResult) -> None:
        self._on_fused(result)
        self._detections.publish(detections_3d_message(result))
        if self._points.is_wanted:
            self._points.publish(labelled_cloud_message(result))
        if self._markers.is_wanted:
            self._markers.publish(detection_markers(result))
