"""Runs the work on sweeps on a GPU, captured into graphs."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Hashable
from types import ModuleType

from avperception.pipeline.device.cuda_errors import cuda_errors, import_cupy
from avperception.pipeline.device.cuda_lidar import CudaLidarResult
from avperception.pipeline.device.cuda_objects import CudaObjects
from avperception.pipeline.device.sweep import SweepWork
from avperception.pipeline.device.sweep_graph import SweepGraph
from avperception.types import Float64, LidarResult, PointCloud

CAPACITY_STEP = 16384
SPARE = 1.25
"""Room for points is made for so many times the first sweep's; a larger one makes room anew."""

SWEEPS_ON_DEVICE = 8
"""Results whose arrays are in GPU memory at most; of more, the oldest are brought to the host."""


class CudaSweepRunner:
    """Runs sweeps on a stream of its own, each in buffers that are free again when its result is gone."""

    def __init__(
        self, work: SweepWork, ops: ModuleType, capturing: threading.Lock, *, graphs: bool, mapped: bool
    ) -> None:
        self._cupy = import_cupy()
        self._work = work
        self._ops = ops
        self._capturing = capturing
        self._graphs = graphs
        self._mapped = mapped
        self._stream = self._cupy.cuda.Stream(non_blocking=True)
        self._done = self._cupy.cuda.Event(disable_timing=True)
        self._free: deque[SweepGraph] = deque()
        self._results: deque[weakref.ref[CudaLidarResult]] = deque()
        self._capacity = 0
        self.objects = CudaObjects(capturing, graphs=graphs)
        self.captures = 0

    @property
    def overflow(self) -> int:
        """Points behind 2D boxes that were left out, for there is an end to the room."""
        return self.objects.overflow

    def run(self, cloud: PointCloud, T_target_lidar: Float64, layout: Hashable) -> LidarResult:
        """Do the work for a sweep and wait for it, without holding Python's lock."""
        started_ns = time.perf_counter_ns()
        with cuda_errors(self._cupy):
            graph = self._take(len(cloud.points_lidar), layout)
            graph.launch(cloud.points_lidar, T_target_lidar)
            self._done.record(self._stream)
            self._done.synchronize()
        stage_ms = {"lidar": (time.perf_counter_ns() - started_ns) / 1e6}
        result = CudaLidarResult(cloud, T_target_lidar, graph, self.objects, self._free.append, stage_ms)
        self._results.append(weakref.ref(result))
        return result

    def _take(self, count: int, layout: Hashable) -> SweepGraph:
        """Give buffers that nobody uses, for at least `count` points."""
        if count > self._capacity:
            self._capacity = -(-int(count * SPARE) // CAPACITY_STEP) * CAPACITY_STEP
        self._capacity = self._capacity or CAPACITY_STEP
        self._make_room()
        graph = self._free.popleft() if self._free else None
        if graph is None or graph.layout != layout or graph.capacity < self._capacity:
            del graph  # the old buffers go first
            graph = SweepGraph(self._cupy, self._ops, self._work, layout, self._capacity, self._stream)
            with self._capturing:
                graph.prepare(capture=self._graphs, mapped=self._mapped)
            self.captures += 1
        return graph

    def _make_room(self) -> None:
        """Take the oldest results off the GPU if too many are there."""
        results = [result for reference in self._results if (result := reference()) is not None]
        on_device = [result for result in results if result.is_on_device]
        for result in on_device[: max(0, len(on_device) + 1 - SWEEPS_ON_DEVICE)]:
            result.leave_device()
        self._results = deque(weakref.ref(result) for result in on_device if result.is_on_device)
