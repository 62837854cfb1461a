"""The CUDA graph that finds the objects behind 2D boxes in a sweep, and every buffer that it touches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avperception.ops.queries import QUERY, Queries
from avperception.pipeline.device.graph_memory import GraphMemory, Inbox
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

        self.room = room
        self.stream = stream
        self.memory = GraphMemory(cupy, stream)
        self._parts = _parts(room, LENS_VALUES)
        self._boxes = self.memory.pinned(room.boxes, BOX)
        # Behind the offsets of the objects' rows: how many points there are in all boxes, and hidden ones.
        self._offsets = self.memory.pinned(room.boxes + 3, np.int32)
        self._rows = self.memory.pinned(2 * room.points, np.int32)
        self._inbox: Inbox | None = None
        self._graph: Any = None

    def __del__(self) -> None:
        self._graph = self._inbox = None
        self.memory.free()

    def prepare(self, *, capture: bool) -> None:
        """Run the work once without a box, so that all is loaded and allocated, then capture it."""
        with self.memory.working():
            self._inbox = self.memory.inbox(self._parts[-1].stop)
            self._enqueue()
            self.stream.synchronize()
            if capture:
                self._graph = self.memory.capture(self._enqueue)

    def capture_lists(self) -> Any:
        """Capture the first part by itself, up to the points in boxes: to measure it."""
        with self.memory.working():
            return self.memory.capture(self._enqueue_lists)

    def launch(
        self,
        addresses: NDArray[np.uint64],
        sensor: Float64,
        lenses: Float64,
        queries: Queries,
        first_boxes: Int32,
    ) -> None:
        """Put the work for a sweep on the stream; camera c's boxes begin at `first_boxes[c]` (C + 1,)."""
        assert self._inbox is not None
        header = _split(self._inbox.host, self._parts, self.room)
        header.addresses[...] = addresses
        header.sensor[...] = sensor
        header.lenses[: len(lenses)] = lenses
        header.queries.view(QUERY)[: len(queries)] = queries
        header.boxes[: len(queries)] = queries["box"]
        header.first_boxes[: len(first_boxes)] = first_boxes
        header.first_boxes[len(first_boxes) :] = first_boxes[-1]
        self.relaunch()

    def relaunch(self) -> None:
        """Put the same work on the stream once more."""
        if self._graph is not None:
            self._graph.launch(self.stream)
            return
        with self.memory.working():
            self._enqueue()

    def results(self, boxes: int) -> tuple[NDArray[Any], Int32, Int32]:
        """Fitted boxes (B,) of the type BOX, offsets (B + 1,) of the objects' rows of the sweep, and these.

        A box without points is none. Valid once the stream has come here, until the next launch.
        """
        return self._boxes.array[:boxes], self._offsets.array[: boxes + 1], self._rows.array

    @property
    def points_listed(self) -> int:
        """Points that the longer of the lists would have had, with room enough."""
        return int(self._offsets.array[self.room.boxes + 1 :].max())

    def _enqueue(self) -> None:
        from avperception.ops.gpu import gather, objects

        pixels, lists = self._enqueue_lists()
        asked = self._header
        sweep, queries = asked.addresses, asked.queries
        chosen = objects.choose_objects(lists, queries, asked.sensor)
        hidden = gather.hidden_around(pixels, sweep, chosen.circles, asked.first_boxes, self.room.points)
        joined = objects.join_hidden(lists, chosen, queries, sweep, *hidden)
        host = (self._boxes.address, self._offsets.address, self._rows.address)
        objects.fit_boxes(lists, chosen, joined, hidden[1], queries, sweep, asked.sensor, host)

    def _enqueue_lists(self) -> tuple[Array, Lists]:
        """Put upload, projection and the lists of points in boxes on the stream; gives pixels and lists."""
        from avperception.ops.gpu import gather, lenses, objects

        assert self._inbox is not None
        self._inbox.upload(self.stream)
        asked = self._header
        sweep, cameras, first = asked.addresses, asked.lenses, asked.first_boxes
        pixels = lenses.project_obstacles(sweep, self.room.rows, cameras, first)
        rows, offsets = gather.points_in_boxes(pixels, asked.boxes, first, self.room.points)
        columns = gather.describe_points(rows, offsets, first, cameras, sweep, pixels)
        return pixels, objects.Lists(columns, offsets)

    @property
    def _header(self) -> _Header:
        assert self._inbox is not None
        return _split(self._inbox.device, self._parts, self.room)


class _Header(NamedTuple):
    """What a launch is told, in the memory of host or GPU.

    The sweep's `addresses` (3,), the lidar's place `sensor` (3,), `lenses` (C, 42), the bytes of `queries`,
    the `boxes` (B, 4) of these and each camera's first box (C + 1,).
    """

    addresses: Array
    sensor: Array
    lenses: Array
    queries: Array
    boxes: Array
    first_boxes: Array


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


def _split(memory: Array, parts: list[slice], room: ObjectRoom) -> _Header:
    addresses, sensor, lenses, queries, boxes, first_boxes = (memory[part] for part in parts)
    return _Header(
        addresses.view(np.uint64),
        sensor.view(np.float64),
        lenses.view(np.float64).reshape(room.cameras, -1),
        queries,
        boxes.view(np.float32).reshape(room.boxes, 4),
        first_boxes.view(np.int32),
    )
