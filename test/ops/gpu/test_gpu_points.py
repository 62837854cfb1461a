from typing import Any

import numpy as np
import pytest
from builders import block, car, cast_sweep, lidar_mount, pedestrian
from scipy.spatial.transform import Rotation

from avperception.ops import cpu

SIZES = [0, 1, 31, 32, 33, 255, 256, 257, 1023, 1024, 1025, 5000, 70_001]
EMPTY_ROWS = 300


def random_points(seed: int, count: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.normal(0, 1, (count, 3)) * random.choice([0.1, 5, 40, 3e4], (count, 1))).astype(np.float32)


def random_transform(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(random.normal(0, 2, 3)).as_matrix()
    T[:3, 3] = random.normal(0, 100, 3)
    return T


def padded(points: np.ndarray) -> np.ndarray:
    """The points with empty rows behind them, as a sweep smaller than the room for it has."""
    return np.concatenate([points, np.full((EMPTY_ROWS, 3), np.nan, np.float32)])


@pytest.mark.parametrize("count", SIZES)
def test_points_are_mapped_as_by_the_reference_to_the_last_bit(gpu: Any, cupy: Any, count: int) -> None:
    points, T = random_points(count, count), random_transform(count)

    found = gpu.transform_points(cupy.asarray(padded(points)), cupy.asarray(T)).get()

    np.testing.assert_array_equal(found[:count], cpu.transform_points(points, T))
    assert np.isnan(found[count:]).all()


@pytest.mark.parametrize("count", SIZES)
def test_the_range_keeps_the_points_of_the_reference(gpu: Any, cupy: Any, count: int) -> None:
    points = random_points(count, count)

    found = gpu.within_range(cupy.asarray(padded(points)), 3.5, 60.0).get()

    np.testing.assert_array_equal(found[:count], cpu.within_range(points, 3.5, 60.0))
    assert not found[count:].any()


def test_points_on_the_limits_of_the_range_fall_as_in_the_reference(gpu: Any, cupy: Any) -> None:
    near, far = 1.1, 99.7
    radius = np.concatenate([np.nextafter(np.float32(limit), np.float32([0, 1e9])) for limit in (near, far)])
    radius = np.concatenate([radius, np.float32([near, far, np.nan, np.inf, -np.inf, 3e30, 0])])
    direction = np.random.default_rng(0).normal(0, 1, (500, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    points = (direction[:, None] * radius[:, None]).reshape(-1, 3).astype(np.float32)

    with np.errstate(over="ignore", invalid="ignore"):
        expected = cpu.within_range(points, near, far)

    np.testing.assert_array_equal(gpu.within_range(cupy.asarray(points), near, far).get(), expected)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("count", SIZES)
def test_selected_rows_are_in_order_and_without_gaps(gpu: Any, cupy: Any, count: int, share: float) -> None:
    mask = np.random.default_rng(count).uniform(size=count) < share

    rows = gpu.selected_rows(cupy.asarray(mask)).get()

    expected = cpu.selected_rows(mask)
    np.testing.assert_array_equal(rows[: len(expected)], expected)
    assert (rows[len(expected) :] == -1).all() and len(rows) == count


def test_rows_are_selected_from_a_million(gpu: Any, cupy: Any) -> None:
    mask = np.random.default_rng(0).uniform(size=1_500_000) < 0.7

    rows = gpu.selected_rows(cupy.asarray(mask)).get()

    expected = cpu.selected_rows(mask)
    np.testing.assert_array_equal(rows[: len(expected)], expected)
    assert (rows[len(expected) :] == -1).all()


def test_rows_are_taken_and_empty_ones_are_empty(gpu: Any, cupy: Any) -> None:
    points = random_points(1, 1000)
    rows = np.random.default_rng(1).integers(-1, 1000, 3000).astype(np.int32)

    found = gpu.take_rows(cupy.asarray(points), cupy.asarray(rows)).get()

    np.testing.assert_array_equal(found[rows >= 0], cpu.take_rows(points, rows[rows >= 0]))
    assert np.isnan(found[rows < 0]).all()


def check_ground(
    gpu: Any, cupy: Any, points: np.ndarray, sensor: np.ndarray, max_range: float = 100.0, slope: float = 0.08
) -> None:
    expected = cpu.ground_height(points, sensor, max_range, slope, 0.15)
    found = gpu.ground_height(
        cupy.asarray(padded(points)), cupy.asarray(sensor), max_range, slope, 0.15
    ).get()
    np.testing.assert_array_equal(found[: len(points)], expected)
    assert np.isnan(found[len(points) :]).all()


THINGS = [
    car(15, 0),
    pedestrian(6, 1.5),
    block("bus", 12, -4, 0, (3, 6, 2.6)),
    block("wall", 40, 0, 0, (1, 30, 4)),
]


@pytest.mark.parametrize("slope", [0.0, 0.05, -0.05, 0.07])
@pytest.mark.parametrize("things", [[], THINGS], ids=["bare", "street"])
def test_the_ground_of_a_sweep_is_the_references(
    gpu: Any, cupy: Any, slope: float, things: list[Any]
) -> None:
    sweep = cast_sweep(things, slope=slope, half_angle=180)
    points = cpu.transform_points(sweep.cloud.points_lidar, lidar_mount())

    check_ground(gpu, cupy, points, lidar_mount()[:3, 3])


@pytest.mark.parametrize("max_range", [3.0, 14.0, 14.5, 40.0, 250.0])
@pytest.mark.parametrize("slope", [0.0, 0.08, 1.0])
def test_the_ground_below_noise_is_the_references(
    gpu: Any, cupy: Any, max_range: float, slope: float
) -> None:
    for seed in range(5):
        random = np.random.default_rng(seed)
        points = (random.normal(0, 1, (20_000, 3)) * [40, 40, 0.5 + seed]).astype(np.float32)
        check_ground(gpu, cupy, points, random.normal(0, 5, 3), max_range, slope)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 90, 91])
def test_the_height_to_start_from_is_the_median_of_even_and_odd_numbers(
    gpu: Any, cupy: Any, count: int
) -> None:
    random = np.random.default_rng(count)
    points = random.uniform(-14, 14, (count, 3)).astype(np.float32)

    check_ground(gpu, cupy, points, np.zeros(3))


def test_the_seams_between_the_sectors_are_where_the_reference_has_them(gpu: Any, cupy: Any) -> None:
    angle = np.radians(np.arange(-360, 361, 0.5))
    radius = np.arange(0, 30, 0.5)
    x, y = (np.outer(part, radius).ravel() for part in (np.cos(angle), np.sin(angle)))
    heights = np.random.default_rng(0).normal(0, 1, x.size)
    points = np.stack([x, y, heights], axis=1).astype(np.float32)
    zeros = np.array([[0, 0, 1], [-0.0, -0.0, 2], [-5, -0.0, 3], [-5, 0.0, 4], [0, -5, 5], [-5, -1e-30, 6]])

    check_ground(gpu, cupy, np.concatenate([points, zeros]).astype(np.float32), np.zeros(3))


def test_all_points_in_one_cell(gpu: Any, cupy: Any) -> None:
    points = np.random.default_rng(0).normal([20.5, 0.3, 0], [0.01, 0.01, 2], (50_000, 3)).astype(np.float32)

    check_ground(gpu, cupy, points, np.zeros(3))


def test_the_sensor_may_be_a_column_of_a_transform(gpu: Any, cupy: Any) -> None:
    points, T = random_points(5, 4000), random_transform(5)
    points = points[np.abs(points).max(axis=1) < 1000]

    found = gpu.ground_height(cupy.asarray(points), cupy.asarray(T)[:3, 3], 100.0, 0.08, 0.15).get()

    np.testing.assert_array_equal(found, cpu.ground_height(points, T[:3, 3], 100.0, 0.08, 0.15))
