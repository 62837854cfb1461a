"""The CUDA graphs that project a sweep into cameras and gather points, and every buffer that they touch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avperception.types import Array, Float32, Float64, Int32

ADDRESSES = 4
"""Places for addresses at the head of the header, three of them used; they keep the rest aligned."""


@dataclass(frozen=True)
class GatherRoom:
    """Room for so many `cameras`, `regions` of them, `rows` of a sweep and `points` in all lists."""

    cameras: int
    regions: int
    rows: int
    points: int


class GatherGraph:
    """Two pieces of work on a sweep: gather what is in boxes, then what is hidden around some places.

    Each is captured once and launched for every sweep; the sweep's addresses, the cameras and the regions
    come in a header, and unused room of it costs nothing.
    """

    def __init__(self, cupy: Any, room: GatherRoom, stream: Any) -> None:
        from avperception.ops.gpu.gather import COLUMNS
        from avperception.ops.gpu.lenses import LENS_VALUES

        self._cupy = cupy
        self.room = room
        self.stream = stream
        self._pool = cupy.cuda.MemoryPool()
        self._pinned_pool = cupy.cuda.PinnedMemoryPool()
        self._parts = _parts(room, LENS_VALUES)
        self._memory, header = self._pinned(self._parts[-1].stop, np.uint8)
        header[...] = 0
        self._addresses, self._lenses, self._regions, self._first = _split(header, self._parts, room)
        self._columns_memory, columns = self._pinned(COLUMNS * room.points, np.float32)
        self._columns: Float32 = columns.reshape(COLUMNS, room.points)
        self._offsets_memory, self._offsets = self._pinned(room.regions + 1, np.int32)
        self._device: Array = None
        self._pixels: Array = None
        self._graphs: dict[bool, Any] = {}

    def __del__(self) -> None:
        # As for a frame's graph: what the pool has split would wait for a garbage collection.
        self._graphs.clear()
        self._device = self._pixels = None
        self._pool.free_all_blocks()

    def prepare(self, *, capture: bool) -> None:
        """Run the work once without a region, so that all is loaded and allocated, then capture it."""
        with self._working():
            self._device = self._cupy.empty(self._parts[-1].stop, np.uint8)
            for hidden in (False, True):
                self._enqueue(hidden)
            self.stream.synchronize()
            for hidden in (False, True) if capture else ():
                self.stream.begin_capture()
                try:
                    self._enqueue(hidden)
                finally:
                    self._graphs[hidden] = self.stream.end_capture()
                self._graphs[hidden].upload(self.stream)
            self.stream.synchronize()

    def launch(
        self,
        addresses: NDArray[np.uint64],
        lenses: Float64,
        regions: Float32,
        first_regions: Int32,
        *,
        hidden: bool,
    ) -> None:
        """Put the work on the stream: what is in boxes, or, with `hidden`, hidden in circles.

        The latter is of the sweep and the cameras of the last boxes.
        """
        self._addresses[: len(addresses)] = addresses
        self._lenses[: len(lenses)] = lenses
        self._regions[: len(regions)] = regions
        self._first[: len(first_regions)] = first_regions
        self._first[len(first_regions) :] = first_regions[-1]
        self.relaunch(hidden=hidden)

    def relaunch(self, *, hidden: bool = False) -> None:
        """Put the same work on the stream once more."""
        if self._graphs:
            self._graphs[hidden].launch(self.stream)
            return
        with self._working():
            self._enqueue(hidden)

    def results(self, regions: int) -> tuple[Float32, Int32]:
        """Columns (9, points) of the gathered points and where each list begins in them (regions + 1,).

        Valid once the stream has come here, until the next launch.
        """
        return self._columns, self._offsets[: regions + 1]

    def _enqueue(self, hidden: bool) -> None:
        from avperception.ops.gpu import gather, lenses

        runtime = self._cupy.cuda.runtime
        runtime.memcpyAsync(
            self._device.data.ptr,
            self._memory.ptr,
            self._device.nbytes,
            runtime.memcpyHostToDevice,
            self.stream.ptr,
        )
        sweep, cameras, regions, first = _split(self._device, self._parts, self.room)
        if hidden:
            found = gather.hidden_around(self._pixels, sweep, regions, first, self.room.points)
        else:
            self._pixels = None  # its memory serves again
            self._pixels = lenses.project_obstacles(sweep, self.room.rows, cameras, first)
            found = gather.points_in_boxes(self._pixels, regions, first, self.room.points)
        host = (self._columns.ctypes.data, self._offsets.ctypes.data)
        gather.describe_points(*found, first, cameras, sweep, self._pixels, host, in_camera=not hidden)

    @contextmanager
    def _working(self) -> Iterator[None]:
        with self.stream, self._cupy.cuda.using_allocator(self._pool.malloc):
            yield

    def _pinned(self, size: int, dtype: Any) -> tuple[Any, NDArray[Any]]:
        memory = self._pinned_pool.malloc(size * np.dtype(dtype).itemsize)
        return memory, np.frombuffer(memory, dtype, size)


def _parts(room: GatherRoom, lens_values: int) -> list[slice]:
    """Where in the header the addresses, cameras, regions and the cameras' first regions are, in bytes."""
    sizes = [8 * ADDRESSES, 8 * lens_values * room.cameras, 16 * room.regions, 4 * (room.cameras + 1)]
    ends = np.cumsum(sizes).tolist()
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def _split(header: Array, parts: list[slice], room: GatherRoom) -> tuple[Array, Array, Array, Array]:
    addresses, lenses, regions, first = (header[part] for part in parts)
    return (
        addresses.view(np.uint64),
        lenses.view(np.float64).reshape(room.cameras, -1),
        regions.view(np.float32).reshape(room.regions, 4),
        first.view(np.int32),
    )
