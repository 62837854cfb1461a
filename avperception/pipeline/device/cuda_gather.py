"""The points of a sweep in GPU memory that lie behind 2D boxes: the few that come to the host."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avperception.pipeline.device.cuda_errors import cuda_errors, import_cupy
from avperception.pipeline.device.sweep import SweepArrays
from avperception.pipeline.views import BoxPoints, CameraView, PointSet, Surroundings
from avperception.types import Array, Float32, Float64, Int32

FIRST_CAPACITY = 1 << 16
MAX_CAPACITY = 1 << 22
"""Points in all lists together: twice as many are made room for when they do not fit, up to this."""


class CudaGather:
    """Projects sweeps into cameras and gathers points by region, on a stream of its own."""

    def __init__(self) -> None:
        self._cupy = import_cupy()
        self._stream = self._cupy.cuda.Stream(non_blocking=True)
        self._done = self._cupy.cuda.Event(disable_timing=True)
        self._pool = self._cupy.cuda.MemoryPool()
        self._lock = threading.Lock()
        self._staging = _Pinned(self._cupy)
        self._offsets = _Pinned(self._cupy)
        self._columns = _Pinned(self._cupy)
        self._capacity = FIRST_CAPACITY
        self.growths = 0
        """How often more points were gathered than there was room for."""
        self.overflow = 0
        """Points that were left out because there was no more room to be had."""

    @contextmanager
    def of(self, arrays: SweepArrays, views: Sequence[CameraView]) -> Iterator[CudaViewPoints]:
        """Gather from a sweep for some cameras; for one at a time."""
        with self._lock:
            yield CudaViewPoints(self, arrays, views)

    def project(self, arrays: SweepArrays, lenses: Float64) -> tuple[Array, Array]:
        """Project into all cameras of `lenses` (C, 42); gives these on the GPU and the pixels."""
        from avperception.ops.gpu.lenses import project_obstacles

        with self._working():
            on_device = self._upload(lenses)
            return on_device, project_obstacles(arrays.points, arrays.is_ground, on_device)

    def gather(
        self,
        arrays: SweepArrays,
        lenses: Array,
        pixels: Array,
        regions: Float32,
        first_regions: Int32,
        *,
        hidden: bool,
    ) -> tuple[Float32, Int32]:
        """List the points in boxes, or those hidden from the camera in circles, `regions` (R, 4).

        Gives columns (9, capacity) and where each list begins in them (R + 1,), both valid until the next
        call.
        """
        while True:
            columns, offsets = self._gather(arrays, lenses, pixels, regions, first_regions, hidden)
            total = int(offsets[-1])
            if total <= self._capacity:
                return columns, offsets
            if self._capacity == MAX_CAPACITY:
                self.overflow += total - MAX_CAPACITY
                return columns, np.minimum(offsets, np.int32(MAX_CAPACITY))
            self._capacity = min(max(2 * self._capacity, 1 << total.bit_length()), MAX_CAPACITY)
            self.growths += 1

    def _gather(
        self,
        arrays: SweepArrays,
        lenses: Array,
        pixels: Array,
        regions: Float32,
        first_regions: Int32,
        hidden: bool,
    ) -> tuple[Float32, Int32]:
        from avperception.ops.gpu import gather as ops

        capacity = self._capacity
        columns = self._columns.array((ops.COLUMNS, capacity), np.float32)
        offsets = self._offsets.array((len(regions) + 1,), np.int32)
        with self._working():
            region_bytes = regions.nbytes
            packed = self._upload(
                np.concatenate([regions.view(np.uint8).ravel(), first_regions.view(np.uint8)])
            )
            on_device = packed[:region_bytes].view(np.float32).reshape(-1, 4)
            first = packed[region_bytes:].view(np.int32)
            if hidden:
                rows, begins = ops.hidden_around(
                    pixels, arrays.points, arrays.is_ground, on_device, first, capacity
                )
            else:
                rows, begins = ops.points_in_boxes(pixels, on_device, first, capacity)
            ops.describe_points(
                rows, begins, first, lenses, arrays.points, arrays.ground_height,
                None if hidden else pixels, columns.ctypes.data, offsets.ctypes.data,
            )  # fmt: skip
            self._done.record(self._stream)
            self._done.synchronize()
        return columns, offsets

    @contextmanager
    def _working(self) -> Iterator[None]:
        cuda = self._cupy.cuda
        with cuda_errors(self._cupy), self._stream, cuda.using_allocator(self._pool.malloc):
            yield

    def _upload(self, array: NDArray[Any]) -> Array:
        """Bring a small array to the GPU; the one before must have arrived."""
        runtime = self._cupy.cuda.runtime
        self._stream.synchronize()
        staged = self._staging.array(array.shape, array.dtype)
        staged[...] = array
        on_device = self._cupy.empty(array.shape, array.dtype)
        runtime.memcpyAsync(
            on_device.data.ptr,
            staged.ctypes.data,
            array.nbytes,
            runtime.memcpyHostToDevice,
            self._stream.ptr,
        )
        return on_device


class CudaViewPoints:
    """A sweep on the GPU, as `HostViewPoints` is one on the host."""

    def __init__(self, gather: CudaGather, arrays: SweepArrays, views: Sequence[CameraView]) -> None:
        self._gather = gather
        self._arrays = arrays
        self._views = views
        self._lenses: Array = None
        self._pixels: Array = None

    def in_boxes(self) -> list[list[BoxPoints]]:
        """Give, for each camera, the points in each of its 2D boxes."""
        boxes = [view.result.detections.boxes for view in self._views]
        first = np.cumsum([0, *(len(own) for own in boxes)], dtype=np.int32)
        if not first[-1]:
            return [[] for _ in self._views]
        self._lenses, self._pixels = self._gather.project(self._arrays, _pack_lenses(self._views))
        regions = np.concatenate(boxes).astype(np.float32)
        found = self._gather.gather(self._arrays, self._lenses, self._pixels, regions, first, hidden=False)
        lists = _box_points(*found)
        return [lists[begin:end] for begin, end in pairwise(first)]

    def hidden_around(self, asked: Sequence[Surroundings]) -> list[PointSet]:
        """Give the points in each circle that the camera does not see, in the order of the cameras."""
        counts = np.bincount([circle.view for circle in asked], minlength=len(self._views))
        first = np.cumsum([0, *counts], dtype=np.int32)
        regions = np.array([[*circle.middle, circle.radius**2, 0.0] for circle in asked], dtype=np.float32)
        found = self._gather.gather(self._arrays, self._lenses, self._pixels, regions, first, hidden=True)
        return _point_sets(*found)


def _pack_lenses(views: Sequence[CameraView]) -> Float64:
    from avperception.ops.gpu.lenses import pack_lens

    models = [view.camera for view in views]
    return np.stack(
        [
            pack_lens(
                model.K, model.D, model.distortion_model, model.width, model.height, view.T_camera_target
            )
            for model, view in zip(models, views, strict=True)
        ]
    )


def _point_sets(columns: Float32, offsets: Int32) -> list[PointSet]:
    used = columns[:, : offsets[-1]]
    positions, ground = np.ascontiguousarray(used[:3].T), used[3].copy()
    rows = used[8].view(np.int32).astype(np.int64)
    parts = [slice(begin, end) for begin, end in pairwise(offsets)]
    return [PointSet(rows[part], positions[part], ground[part]) for part in parts]


def _box_points(columns: Float32, offsets: Int32) -> list[BoxPoints]:
    used = columns[:, : offsets[-1]]
    pixels, depths, distances = np.ascontiguousarray(used[4:6].T), used[6].copy(), used[7].copy()
    parts = [slice(begin, end) for begin, end in pairwise(offsets)]
    return [
        BoxPoints(own.rows, own.positions, own.ground, pixels[part], distances[part], depths[part])
        for own, part in zip(_point_sets(columns, offsets), parts, strict=True)
    ]


class _Pinned:
    """Pinned memory that is used again and grows."""

    def __init__(self, cupy: Any) -> None:
        self._pool = cupy.cuda.PinnedMemoryPool()
        self._memory: Any = None
        self._bytes = 0

    def array(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Give an array in this memory, which must not be in use."""
        needed = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if self._memory is None or needed > self._bytes:
            self._bytes = 1 << max(12, needed.bit_length())
            self._memory = None
            self._memory = self._pool.malloc(self._bytes)
        return np.frombuffer(self._memory, dtype, int(np.prod(shape))).reshape(shape)
