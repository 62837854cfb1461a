"""A sweep's work on a GPU, captured into a graph, and its result, which stays there until it is read."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from avperception.pipeline.device.cuda_errors import cuda_errors, import_cupy
from avperception.pipeline.device.cuda_gather import CudaGather
from avperception.pipeline.device.sweep import SweepArrays, SweepWork
from avperception.pipeline.views import CameraView, HostViewPoints, ViewPoints
from avperception.types import Array, Bool, Float32, Float64, LidarResult, PointCloud

HEADER_BYTES = 128
"""In front of the points: T_target_lidar, float64."""

POINT_BYTES = 12
CAPACITY_STEP = 16384
SPARE = 1.25
"""Room for points is made for so many times the first sweep's; a larger one makes room anew."""

SWEEPS_ON_DEVICE = 8
"""Results whose arrays are in GPU memory at most; of more, the oldest are brought to the host."""


class SweepGraph:
    """Upload and work of sweeps of at most `capacity` points, captured once, and every buffer of them.

    Rows that a sweep does not fill are NaN, so that a graph need not know how many there are.
    """

    def __init__(
        self, cupy: Any, ops: ModuleType, work: SweepWork, layout: Hashable, capacity: int, stream: Any
    ) -> None:
        self._cupy = cupy
        self._ops = ops
        self._work = work
        self._stream = stream
        self.layout = layout
        self.capacity = capacity
        self._pool = cupy.cuda.MemoryPool()
        self._bytes = HEADER_BYTES + POINT_BYTES * capacity
        self._memory = cupy.cuda.PinnedMemoryPool().malloc(self._bytes)
        pinned = np.frombuffer(self._memory, np.uint8, self._bytes)
        self._T = pinned[:HEADER_BYTES].view(np.float64).reshape(4, 4)
        self._points = pinned[HEADER_BYTES:].view(np.float32).reshape(capacity, 3)
        self._filled = 0
        self._uploads = True
        self._device: Array = None
        self._graph: Any = None
        self.arrays: SweepArrays | None = None

    def prepare(self, *, capture: bool, mapped: bool) -> None:
        """Run the work once by itself, so that all is loaded and allocated, then capture it."""
        cupy = self._cupy
        self._uploads = not mapped
        self._T[...] = np.eye(4)
        self._points[...] = np.nan
        cupy.cuda.Device().synchronize()  # what was set up on other streams is there
        with self._stream, cupy.cuda.using_allocator(self._pool.malloc):
            self._device = self._mapped_array() if mapped else cupy.empty(self._bytes, np.uint8)
            self._upload(self.capacity)
            self._enqueue()
            self._stream.synchronize()
            if not capture:
                return
            self._stream.begin_capture()
            try:
                self._enqueue()
            finally:
                self._graph = self._stream.end_capture()
            self._graph.upload(self._stream)
            self._stream.synchronize()

    def launch(self, points: Float32, T_target_lidar: Float64) -> None:
        """Put a sweep's work on the stream; the points (N, 3) are copied."""
        cupy, count = self._cupy, len(points)
        cupy.cuda.nvtx.RangePush("lidar")
        self._T[...] = T_target_lidar
        np.copyto(self._points[:count], points)
        self._points[count : self._filled] = np.nan
        self._upload(max(count, self._filled))
        self._filled = count
        if self._graph is not None:
            self._graph.launch(self._stream)
        else:
            with self._stream, cupy.cuda.using_allocator(self._pool.malloc):
                self._enqueue()
        cupy.cuda.nvtx.RangePop()

    def download(self) -> SweepArrays:
        """Bring the arrays of the last sweep to the host, of the rows that are filled."""
        arrays = self.arrays
        assert arrays is not None
        rows = arrays.rows.get(stream=self._stream)
        rows = rows[rows >= 0].astype(np.int64)
        filled = slice(0, len(rows))
        found = (arrays.points, arrays.ground_height, arrays.is_ground)
        return SweepArrays(rows, *(array[filled].get(stream=self._stream) for array in found))

    def _enqueue(self) -> None:
        T = self._device[:HEADER_BYTES].view(np.float64).reshape(4, 4)
        points = self._device[HEADER_BYTES:].view(np.float32).reshape(self.capacity, 3)
        self.arrays = self._work(self._ops, points, T)

    def _upload(self, count: int) -> None:
        if self._uploads:
            runtime = self._cupy.cuda.runtime
            runtime.memcpyAsync(
                self._device.data.ptr,
                self._memory.ptr,
                HEADER_BYTES + POINT_BYTES * count,
                runtime.memcpyHostToDevice,
                self._stream.ptr,
            )

    def _mapped_array(self) -> Array:
        cupy = self._cupy
        memory = cupy.cuda.UnownedMemory(self._memory.ptr, self._bytes, self._memory)
        return cupy.ndarray(self._bytes, np.uint8, memptr=cupy.cuda.MemoryPointer(memory, 0))


class CudaLidarResult(LidarResult):
    """A sweep in GPU memory; its arrays come to the host when they are first read."""

    _intensity: Float32
    _graph: SweepGraph | None
    _gather: CudaGather
    _lock: threading.RLock
    _host: SweepArrays | None
    _give_back: weakref.finalize[..., Any]

    def __init__(
        self,
        cloud: PointCloud,
        T_target_lidar: Float64,
        graph: SweepGraph,
        gather: CudaGather,
        give_back: Callable[[SweepGraph], None],
        stage_ms: dict[str, float],
    ) -> None:
        vars(self).update(
            stamp_ns=cloud.stamp_ns,
            frame_id=cloud.frame_id,
            T_target_lidar=T_target_lidar,
            stage_ms=stage_ms,
            _intensity=cloud.intensity,
            _graph=graph,
            _gather=gather,
            _lock=threading.RLock(),
            _host=None,
            _give_back=weakref.finalize(self, give_back, graph),
        )
        self._give_back.atexit = False

    @property
    def points(self) -> Float32:
        return self._arrays.points

    @property
    def intensity(self) -> Float32:
        return self._intensity[self._arrays.rows]

    @property
    def is_ground(self) -> Bool:
        return self._arrays.is_ground

    @property
    def ground_height(self) -> Float32:
        return self._arrays.ground_height

    @property
    def is_on_device(self) -> bool:
        """Whether the buffers on the GPU are still this sweep's."""
        return self._graph is not None

    def leave_device(self) -> None:
        """Bring all to the host and give the buffers on the GPU back."""
        with self._lock:
            if self._graph is not None:
                _ = self._arrays
                vars(self)["_graph"] = None
                self._give_back()

    @contextmanager
    def view_points(self, views: Sequence[CameraView]) -> Iterator[ViewPoints]:
        """Give the points that some cameras see, which stay on the GPU meanwhile."""
        with self._lock:
            if self._graph is None:
                yield HostViewPoints(self, views)
                return
            assert self._graph.arrays is not None
            with self._gather.of(self._graph.arrays, views) as points:
                yield points

    @property
    def _arrays(self) -> SweepArrays:
        with self._lock:
            if self._host is None:
                assert self._graph is not None
                vars(self)["_host"] = self._graph.download()
            assert self._host is not None
            return self._host


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
        self.gather = CudaGather()
        self.captures = 0

    def run(self, cloud: PointCloud, T_target_lidar: Float64, layout: Hashable) -> LidarResult:
        """Do the work for a sweep and wait for it, without holding Python's lock."""
        started_ns = time.perf_counter_ns()
        with cuda_errors(self._cupy):
            graph = self._take(len(cloud.points_lidar), layout)
            graph.launch(cloud.points_lidar, T_target_lidar)
            self._done.record(self._stream)
            self._done.synchronize()
        stage_ms = {"lidar": (time.perf_counter_ns() - started_ns) / 1e6}
        result = CudaLidarResult(cloud, T_target_lidar, graph, self.gather, self._free.append, stage_ms)
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
