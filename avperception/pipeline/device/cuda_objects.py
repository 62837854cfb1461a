"""The objects behind 2D boxes in a sweep in GPU memory: only they come to the host."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from avperception.ops.queries import Queries
from avperception.pipeline.box_fit import FittedBox, box_covariances
from avperception.pipeline.device.cuda_errors import cuda_errors, import_cupy
from avperception.pipeline.device.object_graph import ObjectGraph, ObjectRoom
from avperception.pipeline.device.sweep import SweepArrays
from avperception.pipeline.objects import FoundObject
from avperception.pipeline.views import CameraView, parts
from avperception.types import CameraModel, Float64

FIRST_POINTS = 1 << 16
MAX_POINTS = 1 << 20
"""Points in all lists together: at least twice the room is made when they do not fit, up to this."""

BOXES_STEP = 64


class CudaObjects:
    """Finds objects in sweeps, on a stream of its own."""

    def __init__(self, capturing: threading.Lock, *, graphs: bool) -> None:
        self._cupy = import_cupy()
        self._capturing = capturing
        self._graphs = graphs
        self._stream = self._cupy.cuda.Stream(non_blocking=True)
        self._done = self._cupy.cuda.Event(disable_timing=True)
        self._lock = threading.Lock()
        self._lenses: list[tuple[CameraModel, Float64]] = []
        self.graph: ObjectGraph | None = None
        self.captures = 0
        """How often the work was captured: once, and again for more cameras, boxes or points than before."""
        self.overflow = 0
        """Points that were left out because there was no more room to be had."""

    def find(
        self, arrays: SweepArrays, views: Sequence[CameraView], queries: Queries, sensor: Float64
    ) -> list[FoundObject | None]:
        """Find the object behind each 2D box of some cameras, as `pipeline.objects.find_objects`."""
        with self._lock, cuda_errors(self._cupy):
            graph = self._run(arrays, views, queries, sensor)
            boxes, offsets, rows = graph.results(len(queries))
            own_rows = rows[: offsets[-1]].astype(np.int64)  # the graph's are overwritten by the next sweep's
            return [
                FoundObject(own_rows[part], box) if part.stop > part.start else None
                for box, part in zip(_fitted(boxes), parts(offsets), strict=True)
            ]

    def _run(
        self, arrays: SweepArrays, views: Sequence[CameraView], queries: Queries, sensor: Float64
    ) -> ObjectGraph:
        """Do the work, anew with more room if not all points have had some."""
        from avperception.ops.gpu.lenses import sweep_addresses

        addresses = sweep_addresses(arrays.points, arrays.is_ground, arrays.ground_height)
        counts = [len(view.result.detections.boxes) for view in views]
        first = np.cumsum([0, *counts], dtype=np.int32)
        points = self.graph.room.points if self.graph else FIRST_POINTS
        while True:
            graph = self._graph_for(len(views), len(queries), len(arrays.points), points)
            graph.launch(addresses, sensor, self._packed_lenses(views), queries, first)
            self._done.record(self._stream)
            self._done.synchronize()
            listed, room = graph.points_listed, graph.room.points
            if listed <= room:
                return graph
            if room >= MAX_POINTS:
                self.overflow += listed - room
                return graph
            points = min(max(2 * points, 1 << listed.bit_length()), MAX_POINTS)
            del graph  # its buffers go before larger ones are made

    def _packed_lenses(self, views: Sequence[CameraView]) -> Float64:
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

    def _graph_for(self, cameras: int, boxes: int, rows: int, points: int) -> ObjectGraph:
        """Give a graph with enough room, made anew if the last one has too little."""
        old = self.graph
        if old is not None:
            has, is_enough = old.room, old.room.points >= points
            if has.cameras >= cameras and has.boxes >= boxes and has.rows == rows and is_enough:
                return old
            cameras, boxes = max(cameras, has.cameras), max(boxes, has.boxes)
        self.graph = old = None  # the old buffers go first
        room = ObjectRoom(cameras, -(-boxes // BOXES_STEP) * BOXES_STEP, rows, points)
        graph = ObjectGraph(self._cupy, room, self._stream)
        with self._capturing:
            graph.prepare(capture=self._graphs)
        self.graph = graph
        self.captures += 1
        return graph


def _fitted(boxes: NDArray[np.void]) -> list[FittedBox]:
    """Boxes of the type BOX (B,) as the host has them."""
    planar = np.stack([boxes[f"covariance_{axes}"] for axes in ("xx", "xy", "xy", "yy")], axis=1).reshape(
        -1, 2, 2
    )
    covariances = box_covariances(planar, boxes["yaw_variance"])
    return [
        FittedBox(*box)
        for box in zip(
            boxes["center"].copy(), boxes["size"].copy(), boxes["yaw"].tolist(), covariances, strict=True
        )
    ]
