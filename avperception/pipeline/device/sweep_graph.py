"""The CUDA graph of sweeps of at most so many points and every buffer that it touches."""

from __future__ import annotations

from collections.abc import Hashable
from types import ModuleType
from typing import Any

import numpy as np

from avperception.pipeline.device.graph_memory import GraphMemory, Inbox
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
        self.memory = GraphMemory(cupy, stream)
        self._inbox: Inbox | None = None
        self._T: Float64
        self._points: Float32
        self._filled = 0
        self._graph: Any = None
        self.arrays: SweepArrays | None = None

    def __del__(self) -> None:
        self._graph = self.arrays = self._inbox = None
        self.memory.free()

    def prepare(self, *, capture: bool, mapped: bool) -> None:
        """Run the work once by itself, so that all is loaded and allocated, then capture it."""
        self._cupy.cuda.Device().synchronize()  # what was set up on other streams is there
        with self.memory.working():
            self._inbox = self.memory.inbox(HEADER_BYTES + POINT_BYTES * self.capacity, mapped=mapped)
            self._T, self._points = self._split(self._inbox.host)
            self._T[...] = np.eye(4)
            self._points[...] = np.nan
            self._upload(self.capacity)
            self._enqueue()
            self.stream.synchronize()
            if capture:
                self._graph = self.memory.capture(self._enqueue)

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
            with self.memory.working():
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
        assert self._inbox is not None
        T, points = self._split(self._inbox.device)
        self.arrays = self._work(self._ops, points, T)

    def _upload(self, count: int) -> None:
        assert self._inbox is not None
        self._inbox.upload(self.stream, HEADER_BYTES + POINT_BYTES * count)

    def _split(self, memory: Array) -> tuple[Array, Array]:
        """The transform and the points in the memory of host or GPU."""
        T = memory[:HEADER_BYTES].view(np.float64).reshape(4, 4)
        return T, memory[HEADER_BYTES:].view(np.float32).reshape(self.capacity, 3)
