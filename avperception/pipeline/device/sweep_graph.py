"""The CUDA graph of sweeps of at most so many points and every buffer that it touches."""

from __future__ import annotations

from collections.abc import Hashable
from types import ModuleType
from typing import Any

import numpy as np

from avperception.pipeline.device.sweep import SweepArrays, SweepWork
from avperception.types import Array, Float32, Float64

HEADER_BYTES = 128
"""In front of the points: T_target_lidar, float64."""

POINT_BYTES = 12


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
        self.stream = stream
        # Results are read on other threads, perhaps while the sweeps' stream is being captured.
        self._download_stream = cupy.cuda.Stream(non_blocking=True)
        self.layout = layout
        self.capacity = capacity
        self._pool = cupy.cuda.MemoryPool()
        self._bytes = HEADER_BYTES + POINT_BYTES * capacity
        self._pinned_pool = cupy.cuda.PinnedMemoryPool()
        self._memory = self._pinned_pool.malloc(self._bytes)
        pinned = np.frombuffer(self._memory, np.uint8, self._bytes)
        self._T = pinned[:HEADER_BYTES].view(np.float64).reshape(4, 4)
        self._points = pinned[HEADER_BYTES:].view(np.float32).reshape(capacity, 3)
        self._filled = 0
        self._uploads = True
        self._device: Array = None
        self._graph: Any = None
        self.arrays: SweepArrays | None = None

    def __del__(self) -> None:
        # Blocks that CuPy's pool has split refer to each other: they would wait for a garbage collection.
        self._graph = self.arrays = self._device = None
        self._pool.free_all_blocks()

    def prepare(self, *, capture: bool, mapped: bool) -> None:
        """Run the work once by itself, so that all is loaded and allocated, then capture it."""
        cupy = self._cupy
        self._uploads = not mapped
        self._T[...] = np.eye(4)
        self._points[...] = np.nan
        cupy.cuda.Device().synchronize()  # what was set up on other streams is there
        with self.stream, cupy.cuda.using_allocator(self._pool.malloc):
            self._device = self._mapped_array() if mapped else cupy.empty(self._bytes, np.uint8)
            self._upload(self.capacity)
            self._enqueue()
            self.stream.synchronize()
            if not capture:
                return
            self.stream.begin_capture()
            try:
                self._enqueue()
            finally:
                self._graph = self.stream.end_capture()
            self._graph.upload(self.stream)
            self.stream.synchronize()

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
            self._graph.launch(self.stream)
        else:
            with self.stream, cupy.cuda.using_allocator(self._pool.malloc):
                self._enqueue()
        cupy.cuda.nvtx.RangePop()

    def relaunch(self) -> None:
        """Put the last sweep's upload and captured work on the stream once more."""
        self._upload(self._filled)
        self._graph.launch(self.stream)

    def download(self) -> SweepArrays:
        """Bring the arrays of the last sweep, which must be done, to the host without empty rows."""
        arrays = self.arrays
        assert arrays is not None
        rows = arrays.rows.get(stream=self._download_stream)
        rows = rows[rows >= 0].astype(np.int64)
        filled = slice(0, len(rows))
        found = (arrays.points, arrays.ground_height, arrays.is_ground)
        return SweepArrays(rows, *(array[filled].get(stream=self._download_stream) for array in found))

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
                self.stream.ptr,
            )

    def _mapped_array(self) -> Array:
        cupy = self._cupy
        memory = cupy.cuda.UnownedMemory(self._memory.ptr, self._bytes, self._memory)
        return cupy.ndarray(self._bytes, np.uint8, memptr=cupy.cuda.MemoryPointer(memory, 0))
