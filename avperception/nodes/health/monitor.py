"""What `/diagnostics` says of the node, once a second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import ROSClock
from rclpy.node import Node

from avperception.engines.machine import current_machine
from avperception.errors import ConfigurationError
from avperception.nodes.camera_channel import CameraChannel
from avperception.nodes.diagnostics import Level, Problem, status
from avperception.nodes.fusion_stage import FusionStage
from avperception.nodes.health.coverage import CoverageWatch, coverage_of
from avperception.nodes.health.drift import DriftWatch
from avperception.nodes.health.gpu import GpuReading, GpuWatch
from avperception.nodes.health.limits import Limits
from avperception.nodes.health.watch import SourceWatch, listed, percentiles_s
from avperception.nodes.input import Input
from avperception.nodes.lidar_channel import LidarChannel
from avperception.nodes.output import Output
from avperception.nodes.source import Source
from avperception.pipeline.device import CpuDevice
from avperception.pipeline.loading import Networks
from avperception.types import CameraResult, FusedResult, Image

_GIB = 2**30


class HealthMonitor:
    """Watches the cameras, the lidar, fusion, the networks and the GPU of a perception node.

    `on_camera` and `on_fused` take results on the threads that made them and cost microseconds: what
    takes longer runs on threads of the monitor's own.
    """

    def __init__(
        self,
        node: Node,
        cameras: Sequence[str],
        transform_source: Source,
        transform_inputs: Sequence[Input],
    ) -> None:
        self._node = node
        self.limits = Limits(node, cameras)
        self._transform_source = transform_source
        self._transform_inputs = transform_inputs
        self._is_active = False
        self._clear()

    def _clear(self) -> None:
        self._cameras: list[CameraChannel] = []
        self._lidar: LidarChannel | None = None
        self._watches: dict[str, SourceWatch] = {}
        self._roles: list[str] = []
        self._engines: dict[str, str] = {}
        self._engine_problems: list[Problem] = []
        self._coverage = CoverageWatch({})
        self._drift: DriftWatch | None = None
        self.gpu: GpuWatch | None = None

    def build(
        self,
        cameras: Sequence[CameraChannel],
        lidar: LidarChannel,
        fusion: FusionStage,
        networks: Networks,
    ) -> None:
        """Watch these from now on."""
        self._cameras, self._lidar, self._outputs = list(cameras), lidar, fusion.outputs
        for camera in cameras:
            self._watches[camera.name] = SourceWatch(
                camera.source, "camera_latency", self.limits, [camera.info_source], camera.inputs[0]
            )
        self._lidar_watch = SourceWatch(lidar.source, "lidar_latency", self.limits, topic=lidar.input)
        self._fusion_watch = SourceWatch(fusion.source, "fusion", self.limits, [self._transform_source])
        loaded = {role: network for role, network in networks.by_role.items() if network}
        self._roles = list(loaded)
        self._engines = {role: f"{n.card.name} on {n.engine.description}" for role, n in loaded.items()}
        self._engines["device"] = networks.device.name
        if any(camera.is_compressed for camera in cameras):
            self._engines["JPEG images"] = networks.device.jpeg_decoder
        if networks.why_cpu:
            self._engines["not on the GPU"] = networks.why_cpu
            # Where there is none the CPU is as it should be; one that lies idle is a fault.
            if current_machine().gpu:
                self._engine_problems.append(
                    Problem(Level.WARN, f"the networks run on the CPU: {networks.why_cpu}")
                )
        coverages = {}
        for role, network in loaded.items():
            try:
                if coverage := coverage_of(network):
                    coverages[role] = coverage
            except ConfigurationError as error:
                self._engine_problems.append(Problem(Level.WARN, f"{role}: {error}"))
        self._coverage = CoverageWatch(coverages)
        self._drift = DriftWatch({camera.name: camera for camera in cameras}, self.limits)
        self.gpu = GpuWatch()

    def release(self) -> None:
        """Let go of all that is watched, and end the threads."""
        self._coverage.stop()
        if self._drift is not None:
            self._drift.stop()
        if self.gpu is not None:
            self.gpu.stop()
        self._is_active = False
        self._clear()

    def start(self) -> None:
        """The node is active: messages are to be expected."""
        self._is_active = True
        for watch in self._all_watches():
            watch.start()

    def stop(self) -> None:
        """The node is not active any more: silence is as it should be."""
        self._is_active = False

    def on_camera(self, result: CameraResult, image: Image) -> None:
        """A camera's result is about to be published."""
        if watch := self._watches.get(result.camera):
            watch.add_age(self._age_s(result.stamp_ns))
        self._coverage.offer(result.camera, image, self.limits["diagnostics.coverage_period"])

    def on_fused(self, result: FusedResult) -> None:
        """A sweep's result is about to be published."""
        if self._lidar is not None:
            self._fusion_watch.add_age(self._age_s(result.stamp_ns))
        if self._drift is not None:
            self._drift.offer(result)

    def statuses(self) -> list[DiagnosticStatus]:
        """Look at everything; the statuses that are to be published."""
        for watch in self._all_watches():
            watch.look()
        found = [self._camera_status(camera) for camera in self._cameras]
        if self._lidar is not None:
            rate_hz = self.limits["diagnostics.lidar_min_rate"]
            problems = self._lidar_watch.problems(rate_hz) + _on_topics([self._lidar.input])
            found.append(self._status("lidar", problems, self._lidar_watch.values()))
            problems = self._fusion_watch.problems() + self._starved() + self._standstill()
            problems += _on_topics([*self._transform_inputs, *self._outputs])
            found.append(self._status("fusion", problems, self._fusion_watch.values()))
        found.append(self._engines_status())
        if self.gpu is not None and (self.gpu.latest or self.gpu.failure):
            found.append(self._gpu_status(self.gpu.latest, self.gpu.failure))
        return found

    def _all_watches(self) -> list[SourceWatch]:
        own = list(self._watches.values())
        return own if self._lidar is None else [*own, self._lidar_watch, self._fusion_watch]

    def _starved(self) -> list[Problem]:
        """Say so when all sweeps are lost before they are fused."""
        if not self._lidar_watch.lost or self._fusion_watch.rates_hz()[0] != 0:
            return []
        return [
            Problem(Level.WARN, f"nothing to fuse, all sweeps are lost: {listed(self._lidar_watch.lost)}")
        ]

    def _standstill(self) -> list[Problem]:
        """Say so when the node waits for a clock that nobody publishes."""
        clock = self._node.get_clock()
        if not (isinstance(clock, ROSClock) and clock.ros_time_is_active) or clock.now().nanoseconds:
            return []
        return [Problem(Level.WARN, "use_sim_time is set, but nothing comes on /clock: time stands still")]

    def _age_s(self, stamp_ns: int) -> float:
        return (self._node.get_clock().now().nanoseconds - stamp_ns) / 1e9

    def _status(self, name: str, problems: Sequence[Problem], values: Mapping[str, str]) -> DiagnosticStatus:
        if not self._is_active:
            return self._named(name, [], values, fine="inactive")
        return self._named(name, problems, values)

    def _named(
        self, name: str, problems: Sequence[Problem], values: Mapping[str, str], fine: str = "ok"
    ) -> DiagnosticStatus:
        """A status under the node's own name: several nodes may report."""
        return status(name, problems, values, fine, str(self._node.get_fully_qualified_name()))

    def _camera_status(self, camera: CameraChannel) -> DiagnosticStatus:
        watch = self._watches[camera.name]
        problems = watch.problems(self.limits[f"{camera.name}.min_rate"])
        problems += _on_topics([*camera.inputs, *camera.outputs]) + self._coverage.problems(camera.name)
        values = {**watch.values(), **self._coverage.values(camera.name)}
        if self._drift is not None:
            problems += self._drift.problems(camera.name)
            values.update(self._drift.values(camera.name))
        return self._status(f"{camera.name} camera", problems, values)

    def _engines_status(self) -> DiagnosticStatus:
        values, problems = dict(self._engines), list(self._engine_problems)
        if not (self._roles and self._cameras):
            problems.append(Problem(Level.WARN, "no network loaded"))
        failed = sum(watch.lost["network_failed"] for watch in self._watches.values())
        if failed:
            problems.append(Problem(Level.ERROR, f"{failed} executions failed: see the log"))
        samples = [watch.samples_ms() for watch in self._watches.values()]
        # A graph runs both networks as one; then the whole frame on the GPU is what can be timed.
        stages_of = {role: f"{role}_network" for role in self._roles} | {"frame on the GPU": "gpu"}
        for role, stage in stages_of.items():
            if times := percentiles_s([ms for stages in samples for ms in stages.get(stage, [])]):
                for name, seconds in zip(("p50", "p99"), times, strict=True):
                    values[f"{role} {name} [ms]"] = f"{1e3 * seconds:.2f}"
        is_on_gpu = values.get("device", CpuDevice.name) != CpuDevice.name
        if is_on_gpu and self.gpu is not None and self.gpu.is_unreadable:
            values["temperature, memory"] = "not told: `pip install nvidia-ml-py`"
        return self._named("engines", problems, values, fine="loaded")

    def _gpu_status(self, gpu: GpuReading | None, failure: str | None) -> DiagnosticStatus:
        problems = [Problem(Level.ERROR, failure)] if failure else []
        if gpu is None:
            return self._named("gpu", problems, {})
        values = {"name": gpu.name}
        if gpu.temperature_c is not None:
            values["temperature [°C]"] = f"{gpu.temperature_c:.0f}"
            problems += self.limits.above("gpu_temperature", gpu.temperature_c, f"{gpu.temperature_c:.0f} °C")
        if gpu.memory_share is not None:
            used = f"{(gpu.memory_used_bytes or 0) / _GIB:.1f}"
            total = f"{(gpu.memory_total_bytes or 0) / _GIB:.1f}"
            values["memory used [GiB]"], values["memory total [GiB]"] = used, total
            shared = ", shared with the CPU" if gpu.is_shared else ""
            text = f"{used} of {total} GiB of memory are used{shared}"
            problems += self.limits.above("gpu_memory", gpu.memory_share, text)
        if gpu.utilization is not None:
            values["utilization [%]"] = f"{100 * gpu.utilization:.0f}"
        if gpu.clock_mhz is not None:
            values["clock [MHz]"] = f"{gpu.clock_mhz:.0f}"
        if gpu.power_w is not None:
            values["power [W]"] = f"{gpu.power_w:.0f}"
        values["slowed by"] = ", ".join(gpu.slowed_by) or "nothing"
        if gpu.slowed_by:
            problems.append(Problem(Level.WARN, f"slowed down by {', '.join(gpu.slowed_by)}"))
        return self._named("gpu", problems, values)


def _on_topics(topics: Iterable[Input | Output]) -> list[Problem]:
    """What stands in the way on topics: QoS or types that do not fit, rivals, by publisher."""
    # Several topics may have the same to tell.
    texts = dict.fromkeys(text for topic in topics for text in topic.problems())
    return [Problem(Level.WARN, text) for text in texts]
