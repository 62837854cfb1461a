"""The objects behind 2D boxes, on the GPU: which points they are, and the boxes fitted to these."""

from __future__ import annotations

from dataclasses import dataclass

import cupy as cp
import numpy as np

from avperception.ops.gpu.gather import sums_before
from avperception.ops.gpu.module import launch
from avperception.types import Array

CHOICE_BLOCK = 512
FIT_BLOCK = 256

LEVELS = 4
"""The reaches that are tried, each 0.6 of the one before; `ops.cpu` has SPLITS, one less."""

GROUP_BYTES = 80
CANDIDATE_BYTES = 16

BOX = np.dtype(
    [
        ("center", np.float64, 3),
        ("size", np.float64, 3),
        ("yaw", np.float64),
        ("covariance_xx", np.float64),
        ("covariance_xy", np.float64),
        ("covariance_yy", np.float64),
        ("yaw_variance", np.float64),
    ]
)
"""A fitted box, as kernels/boxes.cu writes it."""


@dataclass(frozen=True)
class Lists:
    """The points in 2D boxes: `columns` (9, capacity) by `describe_points`, `offsets` (B + 1,) int32."""

    columns: Array
    offsets: Array

    @property
    def capacity(self) -> int:
        return int(self.columns.shape[1])


@dataclass(frozen=True)
class Chosen:
    """The objects' points: `places` (capacity,) in the lists, from the offset of each on; `counts` (B + 1,).

    Around those that the edge of their image cuts off, hidden points may be linked: in `circles` (B, 4), x y
    squared radius, by steps of `reaches` (B,) [m].
    """

    places: Array
    counts: Array
    circles: Array
    reaches: Array


def choose_objects(lists: Lists, queries: Array, sensor: Array) -> Chosen:
    """Choose the points that are each box's object, as `ops.cpu.object_points`.

    `queries` are the bytes of rows of the type QUERY; `sensor` (3,) float64 is the lidar's place in the
    target frame.
    """
    capacity, boxes = lists.capacity, len(lists.offsets) - 1
    keys, parents, firsts = _cells(capacity)
    groups = cp.empty(GROUP_BYTES * capacity, np.uint8)
    candidates = cp.empty(LEVELS * CANDIDATE_BYTES * capacity, np.uint8)
    counts, labels = (cp.empty((LEVELS, capacity), np.int32) for _ in range(2))
    slots, owners, places = (cp.empty(capacity, np.int32) for _ in range(3))
    chosen = Chosen(
        places, cp.empty(boxes + 1, np.int32), cp.empty((boxes, 4), np.float32), cp.empty(boxes, np.float32)
    )
    launch(
        "objects", "choose_objects", (boxes,), (CHOICE_BLOCK,),
        lists.columns, lists.offsets, capacity, queries, sensor, keys, parents, firsts, groups, candidates,
        counts, labels, slots, owners, places, chosen.counts, chosen.circles, chosen.reaches,
    )  # fmt: skip
    return chosen


def join_hidden(
    lists: Lists, chosen: Chosen, queries: Array, sweep: Array, hidden_rows: Array, hidden_offsets: Array
) -> Array:
    """Let hidden points, listed by `hidden_around`, join the objects, as `ops.cpu.joined_points`.

    Gives the objects' rows of the sweep, rising, from the sum of both offsets of each on; `chosen.counts`
    become theirs.
    """
    room = 2 * lists.capacity
    keys, parents, firsts = _cells(room)
    slots, labels, tallies, rows = (cp.empty(room, np.int32) for _ in range(4))
    launch(
        "objects", "join_hidden", (len(chosen.reaches),), (CHOICE_BLOCK,),
        lists.columns, lists.offsets, lists.capacity, chosen.places, chosen.counts, queries, chosen.reaches,
        sweep, hidden_rows, hidden_offsets, keys, parents, firsts, slots, labels, tallies, rows,
    )  # fmt: skip
    return rows


def fit_boxes(
    lists: Lists,
    chosen: Chosen,
    rows: Array,
    hidden_offsets: Array,
    queries: Array,
    sweep: Array,
    sensor: Array,
    host: tuple[int, int, int],
) -> None:
    """Fit a box to each object, as `pipeline.box_fit.fit_box`, and write all to pinned host memory.

    The addresses in `host` get boxes (B,) of the type BOX, where there is an object; int32 (B + 3,), the
    offsets of the objects' rows and how many points the lists have, and those of hidden ones; and the rows,
    int32. `chosen.counts` become the offsets.
    """
    sums_before(chosen.counts)
    boxes = len(chosen.reaches)
    launch(
        "boxes", "fit_boxes", (boxes,), (FIT_BLOCK,),
        rows, lists.offsets, hidden_offsets, lists.capacity, chosen.counts, boxes, queries, sweep, sensor,
        *(np.uint64(address) for address in host),
    )  # fmt: skip


def _cells(points: int) -> tuple[Array, Array, Array]:
    """Memory for hash tables of the cells of so many points: keys, parents and first points."""
    return cp.empty(2 * points, np.uint64), cp.empty(2 * points, np.int32), cp.empty(2 * points, np.int32)
