import numpy as np
import pytest
from builders import Thing, corners_of

from avperception.drawing.boxes import EDGES, box_corners

CENTER, SIZE = np.array([10.0, 3.0, 0.8]), np.array([4.0, 2.0, 1.6])


@pytest.mark.parametrize("yaw", [0.0, 0.4, -2.0])
def test_the_corners_are_those_of_the_box(yaw: float) -> None:
    expected = corners_of(Thing("car", CENTER, SIZE, yaw, ()))

    found = box_corners(CENTER, SIZE, yaw)

    assert found.shape == (8, 3)
    assert {tuple(c) for c in found.round(6) + 0.0} == {tuple(c) for c in expected.round(6) + 0.0}


def test_front_left_comes_first_and_the_bottom_before_the_top() -> None:
    corners = box_corners(CENTER, SIZE, np.pi / 2)

    np.testing.assert_allclose(corners[0], [9, 5, 0], atol=1e-9)  # it heads along y: left is -x
    assert (corners[:4, 2] < corners[4:, 2]).all()
    np.testing.assert_allclose(corners[:4, :2], corners[4:, :2])


def test_the_edges_are_the_twelve_of_a_box() -> None:
    corners = box_corners(CENTER, SIZE, 0.3)
    lengths = sorted(float(np.linalg.norm(corners[a] - corners[b])) for a, b in EDGES)

    assert len({frozenset(edge) for edge in EDGES}) == 12
    np.testing.assert_allclose(lengths, [1.6] * 4 + [2.0] * 4 + [4.0] * 4)
