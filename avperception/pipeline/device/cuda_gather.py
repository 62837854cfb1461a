"""The points of a sweep in GPU memory that lie behind 2D boxes: the few that come to the host."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from avperception.pipeline.device.cuda_errors import cuda_errors, import_cupy
from avperception.pipeline.device.gather_graph import GatherGraph, GatherRoom
from avperception.pipeline.device.sweep import SweepArrays
from avperception.pipeline.views import BoxPoints, CameraView, PointLists, Surroundings
from avperception.types import CameraModel, Float32, Float64, Int32

FIRST_POINTS = 1 << 16
MAX_POINTS = 1 << 22
"""Points in all lists together: at least twice the room is made when they do not fit, up to this."""

REGIONS_STEP = 64


class CudaGather:
    """Projects sweeps into cameras and gathers points by region, on a stream of its own."""

    def __init__(self, capturing: threading.Lock, *, graphs: bool) -> None:
        self._cupy = import_cupy()
        self._capturing = capturing
        self._graphs = graphs
        self._stream = self._cupy.cuda.Stream(non_blocking=True)
        self._done = self._cupy.cuda.Event(disable_timing=True)
        self._lock = threading.Lock()
        self._lenses: list[tuple[CameraModel, Float64]] = []
        # What was asked last, and the graph that holds its pixels: one made anew for hidden points has none.
        self._boxes: tuple[NDArray[np.uint64], Float64, Float32, Int32]
        self._seen_by: GatherGraph | None = None
        self.graph: GatherGraph | None = None
        self.captures = 0
        """How often the work was captured: once, and again for more cameras, boxes or points than before."""
        self.overflow = 0
        """Points that were left out because there was no more room to be had."""

    @contextmanager
    def of(self, arrays: SweepArrays, views: Sequence[CameraView]) -> Iterator[CudaViewPoints]:
        """Gather from a sweep for some cameras; for one at a time."""
        with self._lock:
            yield CudaViewPoints(self, arrays, views)

    def gather(
        self, arrays: SweepArrays, lenses: Float64, regions: Float32, first_regions: Int32, *, hidden: bool
    ) -> tuple[Float32, Int32]:
        """List the points in boxes, or those hidden from the camera in circles, `regions` (R, 4).

        Gives columns (9, points) and where each list begins in them (R + 1,), both valid until the next
        call.
        """
        from avperception.ops.gpu.lenses import sweep_addresses

        with cuda_errors(self._cupy):
            addresses = sweep_addresses(arrays.points, arrays.is_ground, arrays.ground_height)
            points = self.graph.room.points if self.graph else FIRST_POINTS
            while True:
                graph = self._graph_for(len(lenses), len(regions), len(arrays.points), points)
                if not hidden:
                    self._boxes = (addresses, lenses, regions, first_regions)
                elif graph is not self._seen_by:
                    graph.launch(*self._boxes, hidden=False)
                    self._stream.synchronize()
                self._seen_by = graph
                graph.launch(addresses, lenses, regions, first_regions, hidden=hidden)
                self._done.record(self._stream)
                self._done.synchronize()
                columns, offsets = graph.results(len(regions))
                total = int(offsets[-1])
                if total <= graph.room.points:
                    return columns, offsets
                if graph.room.points >= MAX_POINTS:
                    self.overflow += total - graph.room.points
                    return columns, np.minimum(offsets, np.int32(graph.room.points))
                points = min(max(2 * points, 1 << total.bit_length()), MAX_POINTS)

    def packed_lenses(self, views: Sequence[CameraView]) -> Float64:
        """Pack the cameras and their places for the GPU (C, 42); a lens that did not change is known."""
        from avperception.ops.gpu.lenses import pack_lens, place_lens

        del self._lenses[len(views) :]
        for place, view in enumerate(views):
            model = view.camera
            if place < len(self._lenses) and self._lenses[place][0] is model:
                continue
            lens = pack_lens(model.K, model.D, model.distortion_model, model.width, model.height, np.eye(4))
            self._lenses[place : place + 1] = [(model, lens)]
        return place_lens(
            np.stack([lens for _, lens in self._lenses]), np.stack([view.T_camera_target for view in views])
        )

    def _graph_for(self, cameras: int, regions: int, rows: int, points: int) -> GatherGraph:
        """Give a graph with enough room, made anew if the last one has too little."""
        old = self.graph
        if old is not None:
            has, is_enough = old.room, old.room.points >= points
            if has.cameras >= cameras and has.regions >= regions and has.rows == rows and is_enough:
                return old
            cameras, regions = max(cameras, has.cameras), max(regions, has.regions)
        room = GatherRoom(cameras, -(-regions // REGIONS_STEP) * REGIONS_STEP, rows, points)
        graph = GatherGraph(self._cupy, room, self._stream)
        with self._capturing:
            graph.prepare(capture=self._graphs)
        self.graph = graph
        self.captures += 1
        return graph


class CudaViewPoints:
    """A sweep on the GPU, as `HostViewPoints` is one on the host."""

    def __init__(self, gather: CudaGather, arrays: SweepArrays, views: Sequence[CameraView]) -> None:
        self._gather = gather
        self._arrays = arrays
        self._views = views

    def in_boxes(self) -> BoxPoints:
        """List the points in each 2D box, the boxes of one camera after those of the other."""
        boxes = [view.result.detections.boxes for view in self._views]
        first = np.cumsum([0, *(len(own) for own in boxes)], dtype=np.int32)
        lenses = self._gather.packed_lenses(self._views)
        found = self._gather.gather(self._arrays, lenses, np.concatenate(boxes), first, hidden=False)
        return _box_points(*found)

    def hidden_around(self, asked: Sequence[Surroundings]) -> PointLists:
        """List the points in each circle that its camera does not see, asked in the order of the cameras."""
        counts = np.bincount([circle.view for circle in asked], minlength=len(self._views))
        first = np.cumsum([0, *counts], dtype=np.int32)
        regions = np.array([[*circle.middle, circle.radius**2, 0.0] for circle in asked], dtype=np.float32)
        lenses = self._gather.packed_lenses(self._views)
        return _point_lists(*self._gather.gather(self._arrays, lenses, regions, first, hidden=True))


def _point_lists(columns: Float32, offsets: Int32) -> PointLists:
    """What does not depend on a camera, copied."""
    used = columns[:, : offsets[-1]]
    rows = used[8].view(np.int32).astype(np.int64)
    return PointLists(rows, _side_by_side(used[:3]), used[3].copy(), offsets.copy())


def _box_points(columns: Float32, offsets: Int32) -> BoxPoints:
    used = columns[:, : offsets[-1]]
    pixels, depths, distances = _side_by_side(used[4:6]), used[6].copy(), used[7].copy()
    return BoxPoints(
        **vars(_point_lists(columns, offsets)), pixels=pixels, distances=distances, depths=depths
    )


def _side_by_side(columns: Float32) -> Float32:
    """Columns (K, N) as rows (N, K); a copy of the transpose reads from far apart: ten times slower."""
    rows = np.empty(columns.shape[::-1], np.float32)
    for place, column in enumerate(columns):
        rows[:, place] = column
    return rows
