"""The work on a lidar's sweep, as the lidar's pipeline gives it to a device."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

from avperception.ops import cpu
from avperception.pipeline.stopwatch import Stopwatch
from avperception.types import Array, Float64, LidarResult, PointCloud


@dataclass(frozen=True)
class SweepArrays:
    """What becomes of a sweep: which `rows` (N,) of it are kept, and of these what LidarResult says."""

    rows: Array
    points: Array
    ground_height: Array
    is_ground: Array


SweepWork = Callable[[ModuleType, Array, Array], SweepArrays]
"""Given the device's operations, points (N, 3) in the lidar's frame and T_target_lidar (4, 4), float64.

On a GPU it runs once, to be captured, and the arrays are in GPU memory and of a fixed number of rows.
"""


class SweepRunner(Protocol):
    """Runs the work of one sweep after the other."""

    captures: int
    """How often the work was captured: once for each sweep that is held at a time, and for each growth."""

    @property
    def overflow(self) -> int:
        """Points that were left out when they were gathered."""
        ...

    def run(self, cloud: PointCloud, T_target_lidar: Float64, layout: Hashable) -> LidarResult:
        """Do the work for a sweep; work that depends on more of it than its points and `layout` is wrong.

        Raises EngineError when the device fails.
        """
        ...


class CpuSweepRunner:
    """Does the work on the host."""

    captures = 0
    overflow = 0

    def __init__(self, work: SweepWork) -> None:
        self._work = work

    def run(self, cloud: PointCloud, T_target_lidar: Float64, layout: Hashable) -> LidarResult:
        """Do the work for a sweep."""
        stopwatch = Stopwatch()
        with stopwatch.stage("lidar"):
            arrays = self._work(cpu, cloud.points_lidar, T_target_lidar)
        return LidarResult(
            stamp_ns=cloud.stamp_ns,
            frame_id=cloud.frame_id,
            points=arrays.points,
            intensity=cloud.intensity[arrays.rows],
            is_ground=arrays.is_ground,
            ground_height=arrays.ground_height,
            T_target_lidar=T_target_lidar,
            stage_ms=stopwatch.stage_ms,
        )
