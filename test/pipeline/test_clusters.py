import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from avperception.pipeline.clusters import candidates, clusters, fill_scores, length_of, object_cluster

POINTS = arrays.arrays(
    np.float32, st.tuples(st.integers(0, 60), st.just(3)), elements=st.floats(-20, 20, width=32)
)


@given(POINTS, st.floats(0.2, 3))
@settings(max_examples=100, deadline=None)
def test_every_point_is_in_one_group_and_groups_are_apart(points: np.ndarray, reach: float) -> None:
    groups = clusters(points, reach)

    assert sorted(row for rows in groups for row in rows) == list(range(len(points)))
    xy = points[:, :2].astype(float)
    label = np.empty(len(points), int)
    for i, rows in enumerate(groups):
        label[rows] = i
    distance = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    # Points are gathered in cells of a quarter of the reach, whose diagonal is 0.36 of it.
    assert (label[:, None] == label[None])[distance < 0.6 * reach].all()
    for rows in groups:
        if len(rows) > 1:
            others = np.where(np.eye(len(rows), dtype=bool), np.inf, distance[np.ix_(rows, rows)])
            assert others.min(axis=1).max() < 1.4 * reach


def test_height_does_not_part_a_group() -> None:
    column = np.array([[5, 0, z] for z in np.arange(0, 3, 0.9)], np.float32)

    assert len(clusters(column, 0.5)) == 1


def test_a_wall_of_many_points_is_one_group() -> None:
    wall = np.random.default_rng(0).uniform([10, -20, 0], [10.2, 20, 5], (60_000, 3)).astype(np.float32)

    assert len(clusters(wall, 0.6)) == 1


def test_no_points_make_no_groups() -> None:
    assert clusters(np.zeros((0, 3), np.float32), 0.5) == []


def test_a_person_beside_a_wall_is_a_candidate_of_its_own() -> None:
    random = np.random.default_rng(1)
    wall = random.uniform([10, -4, 0], [10.1, 4, 3], (2000, 3)).astype(np.float32)
    person = random.uniform([9.5, -0.25, 0.2], [9.7, 0.25, 1.8], (150, 3)).astype(np.float32)
    points = np.concatenate([wall, person])
    assert len(clusters(points, 0.5)) == 1

    found = candidates(points, 0.5, longest=1.4, min_points=5)

    assert any(set(rows) == set(range(2000, 2150)) for rows in found)


@given(POINTS, st.floats(0.2, 3), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_candidates_are_the_clusters_and_parts_of_those_too_long(
    points: np.ndarray, reach: float, min_points: int
) -> None:
    found = candidates(points, reach, 4.0, min_points)

    whole = [set(rows) for rows in clusters(points, reach) if len(rows) >= min_points]
    assert all(set(rows) in whole or any(set(rows) < group for group in whole) for rows in found)
    assert all(group in [set(rows) for rows in found] for group in whole)
    assert all(len(rows) >= min_points for rows in found)
    assert all(set(rows) in whole for rows in candidates(points, reach, np.inf, min_points))


def test_the_length_of_a_group_is_its_diagonal_on_the_ground() -> None:
    assert length_of(np.array([[0, 0, 0], [3, 1, 9], [1, 4, 2]], np.float32)) == pytest.approx(5.0)


# --------------------------------------------------------------------------------------------------
# The object among the groups in a 2D box

BOX = np.array([100.0, 100, 200, 300])


def spread(x1: float, y1: float, x2: float, y2: float, count: int) -> np.ndarray:
    """Pixels spread evenly over a rectangle, its corners among them."""
    side = max(2, int(np.sqrt(count)))
    x, y = np.meshgrid(np.linspace(x1, x2, side), np.linspace(y1, y2, side))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def choose(*groups: tuple[np.ndarray, float]) -> int:
    """Index of the group, given as pixels and distance, that is chosen; -1 for none."""
    pixels = np.concatenate([p for p, _ in groups])
    distances = np.concatenate([np.full(len(p), d, np.float32) for p, d in groups])
    ends = np.cumsum([len(p) for p, _ in groups])
    rows = [np.arange(end - len(p), end) for (p, _), end in zip(groups, ends, strict=True)]
    chosen = object_cluster(rows, fill_scores(rows, pixels, BOX), distances)
    return next((i for i, r in enumerate(rows) if np.array_equal(r, chosen)), -1)


def test_the_object_fills_the_box_and_the_wall_behind_it_only_its_rim() -> None:
    person = spread(110, 105, 190, 295, 150)
    wall = np.concatenate([spread(100, 100, 108, 200, 16), spread(192, 100, 200, 200, 16)])

    assert choose((wall, 30), (person, 10)) == 1


def test_the_wall_on_both_sides_of_a_person_is_not_the_person() -> None:
    person = spread(116, 105, 184, 295, 80)
    wall = np.concatenate([spread(100, 100, 114, 300, 100), spread(186, 100, 200, 300, 100)])

    assert choose((wall, 12), (person, 10)) == 1
    assert choose((person, 10), (wall, 12)) == 0


def test_what_occludes_the_foot_of_the_object_is_not_it() -> None:
    bin_in_front = spread(120, 240, 180, 300, 160)
    person = spread(110, 105, 190, 240, 80)

    assert choose((bin_in_front, 5), (person, 10)) == 1


def test_many_points_on_a_near_hedge_do_not_outvote_the_object_above_it() -> None:
    """Points that lie closer together do not make a thing larger."""
    hedge = spread(100, 220, 200, 300, 400)
    car = spread(100, 100, 200, 220, 100)

    assert choose((hedge, 5), (car, 10)) == 1


def test_a_lamp_post_before_the_object_is_not_it() -> None:
    post = spread(145, 100, 150, 300, 60)
    car = np.concatenate([spread(100, 110, 140, 290, 100), spread(155, 110, 200, 290, 100)])

    assert choose((post, 6), (car, 14)) == 1


def test_of_two_that_fill_the_box_alike_the_nearer_is_taken() -> None:
    same = spread(105, 105, 195, 295, 100)

    assert choose((same, 12), (same.copy(), 11.5)) == 1


@pytest.mark.parametrize("pixels", [[[150, 200]], [[150, 100], [150, 300]]], ids=["a point", "a line"])
def test_a_group_without_an_extent_can_be_chosen(pixels: list[list[float]]) -> None:
    assert choose((np.array(pixels, np.float32), 10)) == 0


def test_no_groups_give_no_rows() -> None:
    rows = object_cluster([], np.zeros(0), np.zeros(0, np.float32))

    assert rows.shape == (0,)
