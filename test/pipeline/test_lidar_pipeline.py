import numpy as np
import pytest
from builders import block, cast_sweep, empty_lidar, lidar_mount

from avperception.pipeline.lidar import LidarPipeline, LidarSettings
from avperception.types import PointCloud


def cloud_of(points: np.ndarray) -> PointCloud:
    values = np.arange(len(points), dtype=np.float32)
    return PointCloud(np.asarray(points, np.float32), values, 123, "velodyne")


def test_a_sweep_is_brought_into_the_target_frame_with_its_stamp_and_frame() -> None:
    sweep = cast_sweep([block("car", 15, 0, 0, (4, 1.8, 1.5))])

    result = LidarPipeline(LidarSettings()).process(sweep.cloud, lidar_mount())

    np.testing.assert_allclose(result.points, sweep.cloud.points_lidar + [0, 0, 1.73], atol=1e-5)
    assert (result.stamp_ns, result.frame_id) == (sweep.cloud.stamp_ns, "lidar")
    assert result.is_ground.dtype == bool
    assert result.ground_height.shape == result.is_ground.shape == (len(result.points),)
    assert result.is_ground[sweep.owner == -1].mean() > 0.99
    assert not result.is_ground[(sweep.owner == 0) & (result.points[:, 2] > 0.3)].any()
    assert "lidar" in result.stage_ms


def test_ranges_are_measured_from_the_sensor_and_intensities_stay_with_their_points() -> None:
    points = np.array([[0.5, 0, 0], [2, 0, 0], [0, 30, 0], [49, 0, 0], [0, -51, 0], [0, 0, 60]])
    T = np.eye(4)
    T[:3, 3] = [100, 100, 100]

    result = LidarPipeline(LidarSettings(min_range=1, max_range=50)).process(cloud_of(points), T)

    assert result.intensity.tolist() == [1, 2, 3]
    np.testing.assert_allclose(result.points - 100, points[1:4], atol=1e-4)


def test_settings_may_change_while_it_runs() -> None:
    settings = LidarSettings(max_range=50)
    pipeline = LidarPipeline(settings)
    points = np.array([[10.0, 0, 0], [40, 0, 0]])

    before = pipeline.process(cloud_of(points), np.eye(4))
    settings.max_range = 20

    assert len(before.points) == 2 and len(pipeline.process(cloud_of(points), np.eye(4)).points) == 1


def test_an_empty_sweep_gives_an_empty_result() -> None:
    result = empty_lidar(77)

    assert (result.points.shape, result.intensity.shape, result.is_ground.shape) == ((0, 3), (0,), (0,))
    assert result.stamp_ns == 77


@pytest.mark.parametrize("points", [[[0, 0, 0.0]], [[500, 0, 0]]], ids=["at the sensor", "too far"])
def test_a_sweep_with_nothing_in_range_gives_an_empty_result(points: list[list[float]]) -> None:
    result = LidarPipeline(LidarSettings()).process(cloud_of(np.array(points)), np.eye(4))

    assert len(result.points) == len(result.is_ground) == 0


def test_the_clearance_is_the_border_between_ground_and_rest() -> None:
    floor = np.array([[r, y, -1.7] for r in np.arange(3, 20, 0.25) for y in np.arange(-3, 3, 0.1)])
    above = np.array([[10.0, 0, -1.7 + h] for h in (0.05, 0.15, 0.3, 0.6)])

    result = LidarPipeline(LidarSettings(ground_clearance=0.2)).process(
        cloud_of(np.concatenate([floor, above])), np.eye(4)
    )

    assert result.is_ground[-4:].tolist() == [True, True, False, False]
    assert result.is_ground[:-4].all()
