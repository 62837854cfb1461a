import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lenses import LENSES, SIZE, K, distorted, fold_radius, pixels_of

from avperception.ops import cpu


def points_everywhere(seed: int, count: int = 20_000) -> np.ndarray:
    """Points (N, 3) in all directions, float32, also behind the camera and at its centre."""
    random = np.random.default_rng(seed)
    points = random.normal(0, 1, (count, 3)) * random.choice([0.05, 1.0, 30.0], (count, 1))
    points[: count // 2, 2] = np.abs(points[: count // 2]).sum(axis=1)  # half of them near the axis
    return points.astype(np.float32)


@pytest.mark.parametrize("lens", LENSES)
def test_projection_follows_the_lens_formula(lens: str) -> None:
    model, D = LENSES[lens]
    points = points_everywhere(1)

    pixels, rows = cpu.project_points(points, K, np.array(D, float), model, *SIZE)

    seen = points[rows].astype(float)
    np.testing.assert_allclose(pixels, pixels_of(seen[:, :2] / seen[:, 2:], model, D), atol=0.01)
    assert len(rows) > 2000


@pytest.mark.parametrize("lens", LENSES)
def test_a_point_is_in_the_image_exactly_when_the_lens_brings_it_there(lens: str) -> None:
    model, D = LENSES[lens]
    points = points_everywhere(2)

    _, rows = cpu.project_points(points, K, np.array(D, float), model, *SIZE)

    x, y, z = points.astype(float).T
    in_front = z > 0.1
    normalised = np.zeros((len(points), 2))
    normalised[in_front] = np.stack([x, y], axis=1)[in_front] / z[in_front, None]
    radius = np.hypot(*normalised.T)
    limit = fold_radius(model, D)
    pixels = pixels_of(normalised, model, D)
    # What lies within a hair of a limit may fall on either side.
    expected = in_front & (radius < 0.99 * limit) & inside(pixels, 0.1)
    allowed = in_front & (radius < 1.01 * limit) & inside(pixels, -0.1)
    found = np.isin(np.arange(len(points)), rows)
    assert not (expected & ~found).any()
    assert not (found & ~allowed).any()


def inside(pixels: np.ndarray, margin: float) -> np.ndarray:
    """In the image whose first pixel's centre is at (0, 0), `margin` pixels from its edges."""
    low, high = -0.5 + margin, np.array(SIZE) - 0.5 - margin
    return np.asarray(((pixels >= low) & (pixels < high)).all(axis=1))


@pytest.mark.parametrize("lens", ["kitti barrel", "four coefficients", "pincushion", "rational"])
def test_projection_agrees_with_opencv(lens: str) -> None:
    model, D = LENSES[lens]
    points = points_everywhere(3)

    pixels, rows = cpu.project_points(points, K, np.array(D, float), model, *SIZE)

    expected, _ = cv2.projectPoints(
        points[rows].astype(float)[:, None], np.zeros(3), np.zeros(3), K, np.array(D)
    )
    np.testing.assert_allclose(pixels, expected[:, 0], atol=0.01)


def test_a_barrel_lens_does_not_fold_the_side_of_the_road_into_the_picture() -> None:
    """Beyond 52 degrees this polynomial turns back: a point at 75 degrees would land in the image."""
    model, D = "plumb_bob", [-0.35, 0.0, 0.0, 0.0, 0.0]
    angle = np.radians(np.linspace(45, 89, 200))
    points = np.stack([np.sin(angle), np.zeros(200), np.cos(angle)], axis=1).astype(np.float32) * 20
    assert inside(pixels_of(points[:, :2] / points[:, 2:], model, D), 0).any()

    _, rows = cpu.project_points(points, K, np.array(D), model, *SIZE)

    limit = np.degrees(np.arctan(fold_radius(model, D)))
    assert (np.degrees(angle[rows]) <= limit + 0.1).all()


@pytest.mark.parametrize("lens", LENSES)
def test_points_behind_the_camera_are_never_in_the_image(lens: str) -> None:
    model, D = LENSES[lens]
    points = points_everywhere(4)
    points[:, 2] = -np.abs(points[:, 2])

    _, rows = cpu.project_points(points, K, np.array(D, float), model, *SIZE)

    assert len(rows) == 0


@pytest.mark.parametrize("lens", LENSES)
def test_no_points_give_no_pixels(lens: str) -> None:
    model, D = LENSES[lens]

    pixels, rows = cpu.project_points(np.zeros((0, 3), np.float32), K, np.array(D, float), model, *SIZE)

    assert (pixels.shape, rows.shape) == ((0, 2), (0,))
    assert cpu.distort(np.zeros((0, 2)), K, np.array(D, float), model).shape == (0, 2)
    assert cpu.undistort(np.zeros((0, 2)), K, np.array(D, float), model).shape == (0, 2)


def test_the_image_reaches_half_a_pixel_beyond_the_outer_pixel_centres() -> None:
    u = np.array([-0.51, -0.49, 1279.49, 1279.51])
    points = np.stack([(u - K[0, 2]) / K[0, 0], np.zeros(4), np.ones(4)], axis=1).astype(np.float32) * 10

    _, rows = cpu.project_points(points, K, np.zeros(0), "plumb_bob", *SIZE)

    assert rows.tolist() == [1, 2]


@pytest.mark.parametrize("lens", LENSES)
@given(x=st.floats(0, 1279), y=st.floats(0, 719))
@settings(max_examples=60, deadline=None)
def test_undistorting_and_distorting_comes_back(lens: str, x: float, y: float) -> None:
    model, D = LENSES[lens]
    pixel = np.array([[x, y]])

    normalised = cpu.undistort(pixel, K, np.array(D, float), model)

    # Beyond the image of the fold no ray leads to a pixel, and there is nothing to come back to.
    edge = np.array([[min(0.95 * fold_radius(model, D), 20.0), 0.0]])
    if np.hypot(*((pixel[0] - K[:2, 2]) / K[[0, 1], [0, 1]])) < distorted(edge, model, D)[0, 0] - 0.02:
        np.testing.assert_allclose(cpu.distort(normalised, K, np.array(D, float), model), pixel, atol=0.05)


@pytest.mark.parametrize("lens", LENSES)
def test_undistorting_finds_the_ray_that_the_lens_formula_came_from(lens: str) -> None:
    model, D = LENSES[lens]
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(-0.7, 0.7, 15), np.linspace(-0.5, 0.5, 11)))
    normalised = np.stack([x, y], axis=1)

    found = cpu.undistort(pixels_of(normalised, model, D), K, np.array(D, float), model)

    np.testing.assert_allclose(found, normalised, atol=1e-4)


@pytest.mark.parametrize("lens", [name for name in LENSES if not name.startswith("pinhole")])
def test_the_distortion_limit_is_where_the_lens_folds(lens: str) -> None:
    model, D = LENSES[lens]

    found = cpu.distortion_limit(np.array(D, float), model)

    assert np.arctan(found) == pytest.approx(min(np.arctan(fold_radius(model, D)), np.radians(89)), abs=2e-3)
