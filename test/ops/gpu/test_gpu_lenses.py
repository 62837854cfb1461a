from typing import Any

import numpy as np
import pytest
from lenses import LENSES, SIZE, K
from scipy.spatial.transform import Rotation

from avperception.ops import cpu

SKEWED = K + np.array([[0, 3.5, 0], [0, 0, 0], [0, 0, 0]])
ALL_LENSES = {
    **{name: (model, D, K) for name, (model, D) in LENSES.items()},
    "skewed pinhole": ("plumb_bob", [], SKEWED),
    "skewed fisheye": ("equidistant", [0.01, 0.002, 0, 0], SKEWED),
    "thin prism": (
        "rational_polynomial",
        [0.1, -0.02, 3e-4, -2e-4, 0.01, 0.05, 0, 0, 2e-3, 1e-3, -1e-3, 5e-4],
        K,
    ),
    "tilted": (
        "rational_polynomial",
        [0.1, -0.02, 3e-4, -2e-4, 0.01, 0.05, 0, 0, 2e-3, 1e-3, -1e-3, 5e-4, 0.03, -0.02],
        K,
    ),
}


def points_everywhere(seed: int, count: int = 60_000) -> np.ndarray:
    """Points (N, 3) in all directions, also behind the camera, at its centre, and no points."""
    random = np.random.default_rng(seed)
    points = random.normal(0, 1, (count, 3)) * random.choice([0.05, 1.0, 30.0], (count, 1))
    points[: count // 2, 2] = np.abs(points[: count // 2]).sum(axis=1)
    points[::97] = np.nan
    points[1::997] = 0
    points[2::997, 2] = np.inf
    points[3::997, 2] = 0.1
    return points.astype(np.float32)


@pytest.mark.parametrize("lens", ALL_LENSES)
def test_pixels_are_those_of_the_reference(gpu: Any, cupy: Any, lens: str) -> None:
    model, D, matrix = ALL_LENSES[lens]
    points = points_everywhere(len(lens))
    with np.errstate(invalid="ignore"):
        expected, rows = cpu.project_points(points, matrix, np.array(D, float), model, *SIZE)

    pixels = gpu.project_points(cupy.asarray(points), matrix, np.array(D, float), model, *SIZE).get()

    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(pixels[:, 0])), rows)
    # Double precision on both sides; the last bit of a float may still round the other way.
    np.testing.assert_allclose(pixels[rows], expected, rtol=2e-7, atol=1e-5)
    assert len(rows) > 5000


@pytest.mark.parametrize("lens", ["pinhole", "skewed pinhole"])
def test_a_pinhole_agrees_to_the_last_bit(gpu: Any, cupy: Any, lens: str) -> None:
    model, D, matrix = ALL_LENSES[lens]
    points = points_everywhere(11)
    with np.errstate(invalid="ignore"):
        expected, rows = cpu.project_points(points, matrix, np.array(D, float), model, *SIZE)

    pixels = gpu.project_points(cupy.asarray(points), matrix, np.array(D, float), model, *SIZE).get()

    np.testing.assert_array_equal(pixels[rows], expected)


@pytest.mark.parametrize("lens", ["pinhole", "kitti barrel", "fisheye"])
def test_points_at_the_edges_of_the_image_fall_as_in_the_reference(gpu: Any, cupy: Any, lens: str) -> None:
    model, D, matrix = ALL_LENSES[lens]
    width, height = SIZE
    along = np.linspace(-1, 1281, 4000)
    edges = [
        np.stack([along, np.full_like(along, v)], axis=1) for v in (-0.5, -0.49, height - 0.5, height - 0.51)
    ]
    edges += [
        np.stack([np.full_like(along, u), along], axis=1) for u in (-0.5, -0.49, width - 0.5, width - 0.51)
    ]
    rays = cpu.undistort(np.concatenate(edges), matrix, np.array(D, float), model)
    points = (np.concatenate([rays, np.ones((len(rays), 1))], axis=1) * 20).astype(np.float32)
    _, rows = cpu.project_points(points, matrix, np.array(D, float), model, *SIZE)

    pixels = gpu.project_points(cupy.asarray(points), matrix, np.array(D, float), model, *SIZE).get()

    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(pixels[:, 0])), rows)


@pytest.mark.parametrize("lens", ALL_LENSES)
def test_no_points_give_no_pixels(gpu: Any, cupy: Any, lens: str) -> None:
    model, D, matrix = ALL_LENSES[lens]

    pixels = gpu.project_points(cupy.empty((0, 3), np.float32), matrix, np.array(D, float), model, *SIZE)

    assert pixels.shape == (0, 2)


def test_obstacles_are_projected_into_every_camera_as_boxes_count_pixels(gpu: Any, cupy: Any) -> None:
    from avperception.ops.gpu.lenses import pack_lens, project_obstacles, sweep_addresses

    random = np.random.default_rng(4)
    points = random.normal(0, 20, (30_000, 3)).astype(np.float32)
    is_ground = random.uniform(size=len(points)) < 0.5
    transforms, lenses = [], []
    for model, D, matrix in ALL_LENSES.values():
        T = np.eye(4)
        T[:3, :3] = Rotation.from_rotvec(random.normal(0, 2, 3)).as_matrix()
        T[:3, 3] = random.normal(0, 2, 3)
        transforms.append(T)
        lenses.append(pack_lens(matrix, np.array(D, float), model, *SIZE, T))

    on_gpu = [cupy.asarray(array) for array in (points, is_ground, points[:, 2])]
    first = np.arange(len(lenses) + 1, dtype=np.int32)
    given = (np.stack(lenses), first)
    pixels = project_obstacles(
        cupy.asarray(sweep_addresses(*on_gpu)), len(points), *(cupy.asarray(array) for array in given)
    ).get()

    obstacles = np.flatnonzero(~is_ground)
    for own, T, (model, D, matrix) in zip(pixels, transforms, ALL_LENSES.values(), strict=True):
        in_camera = cpu.transform_points(points[obstacles], T)
        expected, visible = cpu.project_points(in_camera, matrix, np.array(D, float), model, *SIZE)
        np.testing.assert_array_equal(np.flatnonzero(~np.isnan(own[:, 0])), obstacles[visible])
        np.testing.assert_allclose(own[obstacles[visible]], expected + np.float32(0.5), rtol=2e-7, atol=1e-5)
