import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.transform import Rotation

from avperception.ops import cpu


def rigid(rotation_vector: list[float], translation: list[float]) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_rotvec(rotation_vector).as_matrix()
    T[:3, 3] = translation
    return T


SMALL = st.lists(st.floats(-3, 3), min_size=3, max_size=3)
POINTS = arrays.arrays(
    np.float32, st.tuples(st.integers(0, 40), st.just(3)), elements=st.floats(-100, 100, width=32)
)


@given(POINTS, SMALL, SMALL)
@settings(max_examples=60, deadline=None)
def test_points_are_mapped_as_in_double_precision(
    points: np.ndarray, rotation_vector: list[float], translation: list[float]
) -> None:
    T = rigid(rotation_vector, translation)

    result = cpu.transform_points(points, T)

    expected = points.astype(float) @ T[:3, :3].T + T[:3, 3]
    np.testing.assert_allclose(result, expected, atol=1e-4)
    assert result.dtype == np.float32 and result.shape == points.shape


def test_a_strided_view_is_mapped_like_its_copy() -> None:
    points = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    T = rigid([0.1, 0.2, 0.3], [1, 2, 3])

    np.testing.assert_array_equal(
        cpu.transform_points(points[:, :3], T), cpu.transform_points(points[:, :3].copy(), T)
    )


@given(POINTS, st.floats(0, 50), st.floats(50, 180))
@settings(max_examples=60, deadline=None)
def test_range_is_the_distance_from_the_sensor(points: np.ndarray, low: float, high: float) -> None:
    kept = cpu.within_range(points, low, high)

    distance = np.linalg.norm(points.astype(float), axis=1)
    clear = (np.abs(distance - low) > 1e-3) & (np.abs(distance - high) > 1e-3)
    np.testing.assert_array_equal(kept[clear], ((distance >= low) & (distance <= high))[clear])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e30])
def test_a_point_at_no_distance_is_out_of_range(bad: float) -> None:
    points = np.array([[1, 2, 3], [bad, 0, 0]], np.float32)

    with np.errstate(over="ignore"):
        assert cpu.within_range(points, 1, 100).tolist() == [True, False]
