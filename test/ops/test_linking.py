import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from avperception.ops import cpu

POINTS = arrays.arrays(
    np.float32, st.tuples(st.integers(0, 60), st.just(3)), elements=st.floats(-20, 20, width=32)
)


def link(points: np.ndarray, reach: float, owners: np.ndarray | None = None) -> np.ndarray:
    owners = np.zeros(len(points), int) if owners is None else owners
    return cpu.link_points(points, owners, np.full(len(points), reach, np.float32))


@given(POINTS, st.floats(0.2, 3))
@settings(max_examples=100, deadline=None)
def test_near_points_are_in_one_group_and_each_has_a_near_neighbour(points: np.ndarray, reach: float) -> None:
    groups = link(points, reach)

    xy = points[:, :2].astype(float)
    distance = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    # Points are gathered in cells of a quarter of the reach, whose diagonal is 0.36 of it.
    assert (groups[:, None] == groups[None])[distance < 0.6 * reach].all()
    for group in range(groups.max(initial=-1) + 1):
        rows = np.flatnonzero(groups == group)
        if len(rows) > 1:
            others = np.where(np.eye(len(rows), dtype=bool), np.inf, distance[np.ix_(rows, rows)])
            assert others.min(axis=1).max() < 1.4 * reach


@given(POINTS, st.floats(0.2, 3))
@settings(max_examples=50, deadline=None)
def test_groups_are_numbered_in_the_order_of_their_first_points(points: np.ndarray, reach: float) -> None:
    groups = link(points, reach)

    assert groups.shape == (len(points),)
    names, first = np.unique(groups, return_index=True)
    assert names.tolist() == list(range(len(names)))
    assert (np.diff(first) > 0).all()


@given(POINTS, st.floats(0.2, 3), st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_each_owner_is_linked_as_if_it_were_alone(points: np.ndarray, reach: float, count: int) -> None:
    owners = np.arange(len(points)) % count

    groups = link(points, reach, owners)

    for owner in range(count):
        own = np.flatnonzero(owners == owner)
        alone = link(points[own], reach)
        assert ((groups[own][:, None] == groups[own][None]) == (alone[:, None] == alone[None])).all()
        assert not np.isin(groups[owners != owner], groups[own]).any()


def test_height_does_not_part_a_group() -> None:
    column = np.array([[5, 0, z] for z in np.arange(0, 3, 0.9)], np.float32)

    assert link(column, 0.5).tolist() == [0, 0, 0, 0]


def test_each_point_has_its_own_reach() -> None:
    pairs = np.array([[0, 0, 0], [0.5, 0, 0], [9, 0, 0], [9.5, 0, 0]], np.float32)

    groups = cpu.link_points(pairs, np.array([0, 0, 1, 1]), np.array([1, 1, 0.3, 0.3], np.float32))

    assert groups.tolist() == [0, 0, 1, 2]


def test_a_wall_of_many_points_is_one_group() -> None:
    wall = np.random.default_rng(0).uniform([10, -20, 0], [10.2, 20, 5], (60_000, 3)).astype(np.float32)

    assert link(wall, 0.6).max() == 0


def test_points_out_of_this_world_are_linked_too() -> None:
    points = np.array([[1e30, 0, 0], [0, 0, 0], [-1e30, 1e30, 0], [0.1, 0, 0]], np.float32)

    assert link(points, 0.4).tolist() == [0, 1, 2, 1]


# --------------------------------------------------------------------------------------------------
# An object and what may be more of it


def row(*x: float) -> np.ndarray:
    return np.array([[value, 0, 1] for value in x], np.float32)


def join(points: np.ndarray, own: int, reach: float = 1.0, longest: float = 10.0) -> list[int]:
    """Which points of one list are the object's; the first `own` are to begin with."""
    joined = cpu.joined_points(
        points,
        np.arange(len(points)) < own,
        np.array([0, len(points)], np.int32),
        np.array([reach], np.float32),
        np.array([longest], np.float32),
    )
    return np.flatnonzero(joined).tolist()


def test_what_is_linked_with_an_object_joins_it() -> None:
    assert join(row(0, 0.5, 1.0, 1.4, 3.5, 3.9), own=2) == [0, 1, 2, 3]


def test_a_shorter_reach_leaves_out_what_would_make_it_too_long() -> None:
    car_and_wall = row(*np.arange(0, 4, 0.2), *np.arange(4.4, 30, 0.2))

    joined = join(car_and_wall, own=10, longest=6.0)

    assert joined == list(range(20))


def test_only_its_own_points_remain_where_no_reach_is_short_enough() -> None:
    assert join(row(*np.arange(0, 30, 0.01)), own=200, longest=6.0) == list(range(200))


def test_points_of_its_own_that_are_apart_stay() -> None:
    """Those linked with most of them are asked; the others are the object's all the same."""
    assert join(row(0, 0.2, 0.4, 5.0, 0.6, 5.2), own=4) == [0, 1, 2, 3, 4]


def test_several_lists_do_not_mix() -> None:
    one, other = row(0, 0.5, 1.0), row(0.2, 0.7, 5.0)

    joined = cpu.joined_points(
        np.concatenate([one, other]),
        np.array([True, False, False, True, False, False]),
        np.array([0, 3, 6], np.int32),
        np.ones(2, np.float32),
        np.array([10, 0.3], np.float32),
    )

    assert np.flatnonzero(joined).tolist() == [0, 1, 2, 3]


def test_no_lists_and_empty_lists() -> None:
    none = np.zeros((0, 3), np.float32)

    assert cpu.joined_points(
        none, np.zeros(0, bool), np.zeros(1, np.int32), *[np.zeros(0, np.float32)] * 2
    ).shape == (0,)
    assert cpu.joined_points(
        none, np.zeros(0, bool), np.zeros(3, np.int32), *[np.ones(2, np.float32)] * 2
    ).shape == (0,)
