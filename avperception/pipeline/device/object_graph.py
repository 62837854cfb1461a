"""The CUDA graph that finds the objects behind 2D boxes in a sweep, and every buffer that it touches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from avperception.ops.queries import QUERY, Queries
from avperception.types import Array, Float64, Int32

if TYPE_CHECKING:
    from avperception.ops.gpu.objects import Lists

ADDRESSES = 3
SENSOR = 3
"""Coordinates of the lidar in the target frame."""


@dataclass(frozen=True)
class ObjectRoom:
    """Room for so many `cameras`, `boxes` of them, `rows` of a sweep and `points` in all lists."""

    cameras: int
    boxes: int
    rows: int
    points: int


class ObjectGraph:
    """Project a sweep into cameras, list the points in boxes, choose the objects' and fit boxes to these.

    It is captured once and launched for every sweep; the sweep's addresses, the cameras and what is asked
    come in a header, and unused room of it costs nothing.
    """

    def __init__(self, cupy: Any, room: ObjectRoom, stream: Any) -> None:
        from avperception.ops.gpu.lenses import LENS_VALUES
        from avperception.ops.gpu.objects import BOX

        self._cupy = cupy
        self.room = room
        self.stream = stream
        self._pool = cupy.cuda.MemoryPool()
        self._pinned_pool = cupy.cuda.PinnedMemoryPool()
        self._parts = _parts(room, LENS_VALUES)
        self._memory, header = self._pinned(self._parts[-1].stop, np.uint8)
        header[...] = 0
        self._addresses, self._sensor, self._lenses, queries, self._regions, self._first = _split(
            header, self._parts, room
        )
        self._queries = queries.view(QUERY)
        self._boxes_memory, self._boxes = self._pinned(room.boxes, BOX)
        # Behind the offsets of the objects' rows: how many points there are in all boxes, and hidden ones.
        self._offsets_memory, self._offsets = self._pinned(room.boxes + 3, np.int32)
        self._rows_memory, self._rows = self._pinned(2 * room.points, np.int32)
        self._device: Array = None
        self._graph: Any = None

    def __del__(self) -> None:
        # As for a frame's graph: what the pool has split would wait for a garbage collection.
        self._graph = self._device = None
        self._pool.free_all_blocks()

    def prepare(self, *, capture: bool) -> None:
        """Run the work once without a box, so that all is loaded and allocated, then capture it."""
        with self._working():
            self._device = self._cupy.empty(self._parts[-1].stop, np.uint8)
            self._enqueue()
            self.stream.synchronize()
            if not capture:
                return
            self._graph = self._capture(self._enqueue)

    def capture_lists(self) -> Any:
        """Capture the first part by itself, up to the points in boxes: to measure it."""
        with self._working():
            return self._capture(self._enqueue_lists)

    def launch(
        self,
        addresses: NDArray[np.uint64],
        sensor: Float64,
        lenses: Float64,
        queries: Queries,
        first_boxes: Int32,
    ) -> None:
        """Put the work for a sweep on the stream; camera c's boxes begin at `first_boxes[c]` (C + 1,)."""
        self._addresses[...] = addresses
        self._sensor[...] = sensor
        self._lenses[: len(lenses)] = lenses
        self._queries[: len(queries)] = queries
        self._regions[: len(queries)] = queries["box"]
        self._first[: len(first_boxes)] = first_boxes
        self._first[len(first_boxes) :] = first_boxes[-1]
        self.relaunch()

    def relaunch(self) -> None:
        """Put the same work on the stream once more."""
        if self._graph is not None:
            self._graph.launch(self.stream)
            return
        with self._working():
            self._enqueue()

    def results(self, boxes: int) -> tuple[NDArray[Any], Int32, Int32]:
        """Fitted boxes (B,) of the type BOX, offsets (B + 1,) of the objects' rows of the sweep, and these.

        A box without points is none. Valid once the stream has come here, until the next launch.
        """
        return self._boxes[:boxes], self._offsets[: boxes + 1], self._rows

    @property
    def points_listed(self) -> int:
        """Points that the longer of the lists would have had, with room enough."""
        return int(self._offsets[self.room.boxes + 1 :].max())

    def _enqueue(self) -> None:
        from avperception.ops.gpu import gather, objects

        sweep, sensor, _, queries, _, first = _split(self._device, self._parts, self.room)
        pixels, lists = self._enqueue_lists()
        chosen = objects.choose_objects(lists, queries, sensor)
        hidden = gather.hidden_around(pixels, sweep, chosen.circles, first, self.room.points)
        joined = objects.join_hidden(lists, chosen, queries, sweep, *hidden)
        host = (self._boxes.ctypes.data, self._offsets.ctypes.data, self._rows.ctypes.data)
        objects.fit_boxes(lists, chosen, joined, hidden[1], queries, sweep, sensor, host)

    def _enqueue_lists(self) -> tuple[Array, Lists]:
        """Put upload, projection and the lists of points in boxes on the stream; gives pixels and lists."""
        from avperception.ops.gpu import gather, lenses, objects

        runtime = self._cupy.cuda.runtime
        runtime.memcpyAsync(
            self._device.data.ptr,
            self._memory.ptr,
            self._device.nbytes,
            runtime.memcpyHostToDevice,
            self.stream.ptr,
        )
        sweep, _, cameras, _, regions, first = _split(self._device, self._parts, self.room)
        pixels = lenses.project_obstacles(sweep, self.room.rows, cameras, first)
        rows, offsets = gather.points_in_boxes(pixels, regions, first, self.room.points)
        columns = gather.describe_points(rows, offsets, first, cameras, sweep, pixels)
        return pixels, objects.Lists(columns, offsets)

    def _capture(self, enqueue: Callable[[], Any]) -> Any:
        self.stream.begin_capture()
        try:
            enqueue()
        finally:
            graph = self.stream.end_capture()
        graph.upload(self.stream)
        self.stream.synchronize()
        return graph

    @contextmanager
    def _working(self) -> Iterator[None]:
        with self.stream, self._cupy.cuda.using_allocator(self._pool.malloc):
            yield

    def _pinned(self, size: int, dtype: Any) -> tuple[Any, NDArray[Any]]:
        memory = self._pinned_pool.malloc(size * np.dtype(dtype).itemsize)
        return memory, np.frombuffer(memory, dtype, size)


def _parts(room: ObjectRoom, lens_values: int) -> list[slice]:
    """Where in the header addresses, sensor, cameras, queries, boxes and first boxes are, in bytes.

    Each begins at a multiple of 16, as the boxes must.
    """
    sizes = [
        8 * ADDRESSES,
        8 * SENSOR,
        8 * lens_values * room.cameras,
        QUERY.itemsize * room.boxes,
        16 * room.boxes,
        4 * (room.cameras + 1),
    ]
    begins = np.cumsum([0, *(-(-size // 16) * 16 for size in sizes)]).tolist()
    return [slice(begin, begin + size) for begin, size in zip(begins, sizes, strict=False)]


def _split(header: Array, parts: list[slice], room: ObjectRoom) -> tuple[Array, ...]:
    addresses, sensor, lenses, queries, boxes, first = (header[part] for part in parts)
    return (
        addresses.view(np.uint64),
        sensor.view(np.float64),
        lenses.view(np.float64).reshape(room.cameras, -1),
        queries,
        boxes.view(np.float32).reshape(room.boxes, 4),
        first.view(np.int32),
    )
