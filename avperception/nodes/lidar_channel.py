"""The lidar's way through the node: subscription, transform, preparation for fusion."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import PointCloud2

from avperception.errors import GpuLostError, MessageError, TransformError
from avperception.nodes.conversions.clouds import cloud_from_message
from avperception.nodes.conversions.headers import stamp_ns
from avperception.nodes.fusion_stage import FusionStage
from avperception.nodes.input import Input
from avperception.nodes.parameters import NodeParameters
from avperception.nodes.process import end_at_once
from avperception.nodes.source import Source
from avperception.nodes.stamps import StampCheck
from avperception.nodes.transforms import TransformTree
from avperception.nodes.worker import Worker
from avperception.pipeline.device import Device
from avperception.pipeline.lidar import LidarPipeline
from avperception.pipeline.synchronizer import Moment
from avperception.types import Float64, PointCloud

SWEEPS_WAITING = 2
SWEEPS_KEPT = 8
"""Sweeps that wait for their transform; one more gives up the oldest."""


@dataclass(frozen=True)
class _Arrived:
    """A sweep that came at `arrived_ns` in the node's clock."""

    message: PointCloud2
    moment: Moment
    arrived_ns: int


@dataclass(frozen=True)
class _Job:
    arrived: _Arrived
    T_target_lidar: Float64
    start_ns: int


class LidarChannel:
    """Takes sweeps, looks up where the sensor was, and hands the prepared points to fusion.

    A sweep whose transform is not known yet waits for it up to `sync.timeout`.
    """

    def __init__(
        self,
        node: LifecycleNode,
        parameters: NodeParameters,
        transforms: TransformTree,
        fusion: FusionStage,
        device: Device,
    ) -> None:
        self.source = Source("lidar", node.get_logger())
        self._node = node
        self._target_frame = str(parameters["target_frame"])
        self._timeout_ns = parameters.nanoseconds("sync.timeout")
        self._transforms = transforms
        self._fusion = fusion
        self._pipeline = LidarPipeline(parameters.lidar, device)
        self._overflow = 0
        self._stamps = StampCheck(self.source, node.get_clock(), "sweep")
        self._without_transform: deque[_Arrived] = deque()
        self._worker: Worker[_Job] = Worker("lidar", self._handle, self._overload, SWEEPS_WAITING)
        self.input = Input(
            node, PointCloud2, "~/input/points", self._on_points, on_bad=self.source.receive_bad
        )

    def retry(self, now_ns: int) -> None:
        """Look up again what had no transform; what has waited too long is dropped."""
        for _ in range(len(self._without_transform)):
            arrived = self._without_transform.popleft()
            if not self._submit(arrived, last_try=now_ns - arrived.arrived_ns >= self._timeout_ns):
                self._without_transform.append(arrived)

    def restart_clock(self, now_ns: int) -> None:
        """The node's clock went backwards or became another one: what waits does so from now on."""
        self._without_transform = deque(
            replace(arrived, arrived_ns=now_ns) for arrived in self._without_transform
        )

    @property
    def is_idle(self) -> bool:
        return self._worker.is_idle

    def stop(self) -> None:
        """End the subscription and the thread."""
        self.input.stop()
        self._worker.stop()

    def _on_points(self, message: PointCloud2) -> None:
        self.source.receive()
        stamp = self._stamps.take(message.header)
        if stamp is None:
            return
        if stamp.went_back:
            # What waits for a transform waits for one of another time.
            while self._without_transform:
                self._give_up(self._without_transform.popleft())
            self._fusion.restart_lidar()
        now_ns = self._node.get_clock().now().nanoseconds
        arrived = _Arrived(message, self._fusion.announce_lidar(stamp.ns), now_ns)
        if not self._submit(arrived, last_try=self._timeout_ns == 0):
            self._without_transform.append(arrived)
        while len(self._without_transform) > SWEEPS_KEPT:
            self._give_up(self._without_transform.popleft())

    def _submit(self, arrived: _Arrived, last_try: bool) -> bool:
        """Send a sweep to the worker; False when its transform is to be waited for."""
        header = arrived.message.header
        try:
            T_target_lidar = self._transforms.lookup(self._target_frame, header.frame_id, stamp_ns(header))
        except TransformError as error:
            if last_try:
                self.source.drop("no_transform", str(error))
            return last_try
        self._worker.submit(_Job(arrived, T_target_lidar, time.perf_counter_ns()))
        return True

    def _give_up(self, arrived: _Arrived) -> None:
        self._submit(replace(arrived, arrived_ns=0), last_try=True)

    def _overload(self, job: _Job) -> None:
        self.source.drop("overload", "sweeps come faster than they are prepared: the oldest was dropped")

    def _handle(self, job: _Job) -> None:
        try:
            cloud = self._cloud(job)
            result = self._pipeline.process(cloud, job.T_target_lidar)
        except MessageError as error:
            self.source.drop(error.reason, str(error))
            return
        except GpuLostError as error:
            end_at_once(str(error))
        except Exception as error:  # a bad sweep must not end the thread; it is counted and shown
            self.source.drop("internal_error", f"preparing a sweep failed: {error!r}")
            return
        if (overflow := self._pipeline.overflow) > self._overflow:
            self.source.note(
                "points_left_out",
                f"{overflow - self._overflow} points behind 2D boxes were too many for the GPU",
            )
            self._overflow = overflow
        self._fusion.add_lidar(result, job.arrived.moment, job.arrived.arrived_ns)
        latency_ms = (time.perf_counter_ns() - job.start_ns) / 1e6
        self.source.process({**result.stage_ms, "lidar_latency": latency_ms})

    def _cloud(self, job: _Job) -> PointCloud:
        cloud = cloud_from_message(job.arrived.message)
        if cloud.invalid:
            self.source.note("invalid_points", f"{cloud.invalid} points are NaN or infinite: left out")
        return cloud
