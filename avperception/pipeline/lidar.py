"""One sweep's way from the sensor's points to ground and obstacles in the target frame."""

from __future__ import annotations

from dataclasses import dataclass

from avperception.ops import cpu
from avperception.pipeline.stopwatch import Stopwatch
from avperception.types import Float64, LidarResult, PointCloud


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


class LidarPipeline:
    """Crops sweeps by range, brings them into the target frame and tells ground from the rest."""

    def __init__(self, settings: LidarSettings) -> None:
        self._settings = settings

    def process(self, cloud: PointCloud, T_target_lidar: Float64) -> LidarResult:
        """Prepare one sweep for fusion; an empty one gives an empty result."""
        settings = self._settings
        stopwatch = Stopwatch()
        with stopwatch.stage("lidar"):
            kept = cpu.within_range(cloud.points_lidar, settings.min_range, settings.max_range)
            points = cpu.transform_points(cloud.points_lidar[kept], T_target_lidar)
            ground = cpu.ground_height(
                points, T_target_lidar[:3, 3], settings.max_range, settings.max_slope, tolerance=0.15
            )
            is_ground = points[:, 2] - ground < settings.ground_clearance
        return LidarResult(
            stamp_ns=cloud.stamp_ns,
            frame_id=cloud.frame_id,
            points=points,
            intensity=cloud.intensity[kept],
            is_ground=is_ground,
            ground_height=ground,
            T_target_lidar=T_target_lidar,
            stage_ms=stopwatch.stage_ms,
        )
