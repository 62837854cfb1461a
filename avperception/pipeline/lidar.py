"""One sweep's way from the sensor's points to ground and obstacles in the target frame."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from avperception.pipeline.device import CpuDevice, Device
from avperception.pipeline.device.sweep import SweepArrays
from avperception.types import Array, Float64, LidarResult, PointCloud


@dataclass
class LidarSettings:
    """Limits that may change while the pipeline runs.

    `min_range` and `max_range` [m] from the sensor; a point less than `ground_clearance` [m] above the
    ground estimated below it is ground; `max_slope` is the steepest ground, as rise over run.
    """

    min_range: float = 1.0
    max_range: float = 100.0
    ground_clearance: float = 0.2
    max_slope: float = 0.08


GROUND_TOLERANCE = 0.15
"""How far [m] the ground may lie from where its slope leads."""


class LidarPipeline:
    """Crops sweeps by range, brings them into the target frame and tells ground from the rest.

    On a GPU the arrays of a result stay there until somebody reads them, and `fuse` reads few.
    """

    def __init__(self, settings: LidarSettings, device: Device | None = None) -> None:
        self._settings = settings
        self._runner = (device or CpuDevice()).make_sweep_runner(self._prepare)

    @property
    def captures(self) -> int:
        """How often the work was captured into a graph: for sweeps held at a time, and for larger ones."""
        return self._runner.captures

    @property
    def overflow(self) -> int:
        """Points behind 2D boxes that were left out so far because a GPU had no room for them."""
        return self._runner.overflow

    def process(self, cloud: PointCloud, T_target_lidar: Float64) -> LidarResult:
        """Prepare one sweep for fusion; an empty one gives an empty result.

        The cloud's arrays must not change afterwards. Raises EngineError when a GPU fails.
        """
        settings = self._settings
        layout = (settings.min_range, settings.max_range, settings.ground_clearance, settings.max_slope)
        return self._runner.run(cloud, T_target_lidar, layout)

    def _prepare(self, ops: ModuleType, points_lidar: Array, T_target_lidar: Array) -> SweepArrays:
        settings = self._settings
        rows = ops.selected_rows(ops.within_range(points_lidar, settings.min_range, settings.max_range))
        points = ops.transform_points(ops.take_rows(points_lidar, rows), T_target_lidar)
        ground = ops.ground_height(
            points, T_target_lidar[:3, 3], settings.max_range, settings.max_slope, GROUND_TOLERANCE
        )
        is_ground = points[:, 2] - ground < settings.ground_clearance
        return SweepArrays(rows, points, ground, is_ground)
