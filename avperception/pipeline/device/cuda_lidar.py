"""A lidar's result whose arrays are in GPU memory until somebody reads them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from avperception.ops.queries import Queries
from avperception.pipeline.device.cuda_errors import cuda_errors, import_cupy
from avperception.pipeline.device.cuda_objects import CudaObjects
from avperception.pipeline.device.sweep import SweepArrays
from avperception.pipeline.device.sweep_graph import SweepGraph
from avperception.pipeline.objects import BoxQuestion, FoundObject, find_objects
from avperception.pipeline.views import CameraView, HostViewPoints
from avperception.types import Bool, Float32, Float64, LidarResult, PointCloud


class CudaLidarResult(LidarResult):
    """A sweep in GPU memory; its arrays come to the host when they are first read."""

    _intensity: Float32
    graph: SweepGraph | None
    objects: CudaObjects
    _lock: threading.RLock
    _host: SweepArrays | None
    _give_back: weakref.finalize[..., Any]

    def __init__(
        self,
        cloud: PointCloud,
        T_target_lidar: Float64,
        graph: SweepGraph,
        objects: CudaObjects,
        give_back: Callable[[SweepGraph], None],
        stage_ms: dict[str, float],
    ) -> None:
        vars(self).update(
            stamp_ns=cloud.stamp_ns,
            frame_id=cloud.frame_id,
            T_target_lidar=T_target_lidar,
            stage_ms=stage_ms,
            _intensity=cloud.intensity,
            graph=graph,
            objects=objects,
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
        return self.graph is not None

    def leave_device(self) -> None:
        """Bring all to the host and give the buffers on the GPU back."""
        with self._lock:
            if self.graph is not None:
                _ = self._arrays
                vars(self)["graph"] = None
                self._give_back()

    def find_objects(
        self, views: Sequence[CameraView], asked: Sequence[BoxQuestion], queries: Queries
    ) -> list[FoundObject | None]:
        """Find the object behind each 2D box of some cameras; the points stay on the GPU meanwhile."""
        sensor = self.T_target_lidar[:3, 3]
        with self._lock:
            if self.graph is None:
                return find_objects(HostViewPoints(self, views), asked, queries, sensor)
            assert self.graph.arrays is not None
            return self.objects.find(self.graph.arrays, views, queries, sensor)

    @property
    def _arrays(self) -> SweepArrays:
        with self._lock:
            if self._host is None:
                assert self.graph is not None
                with cuda_errors(import_cupy()):
                    vars(self)["_host"] = self.graph.download()
            assert self._host is not None
            return self._host
