import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avperception.ops import cpu
from avperception.ops.queries import QUERY, Queries, are_cut

BOX = (100.0, 100, 200, 300)


def query(box: tuple[float, ...] = BOX, longest: float = np.inf, height: float = 0.0) -> Queries:
    """One query of a box in an image of 640 x 480 pixels."""
    asked = np.zeros(1, QUERY)
    asked["box"], asked["image_size"], asked["focal"] = box, (640, 480), 500
    asked["reach"], asked["min_points"], asked["longest"] = 0.5, 1, longest
    asked["size"] = 0, 0, height
    return asked


def spread(x1: float, y1: float, x2: float, y2: float, count: int) -> np.ndarray:
    """Pixels spread evenly over a rectangle, its corners among them."""
    side = max(2, int(np.sqrt(count)))
    x, y = np.meshgrid(np.linspace(x1, x2, side), np.linspace(y1, y2, side))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32)


def choose(*groups: tuple[np.ndarray, float], asked: Queries | None = None) -> int:
    """Index of the group, given as pixels and distance, that is the object; -1 for none."""
    pixels = np.concatenate([p for p, _ in groups])
    distances = np.concatenate([np.full(len(p), d, np.float32) for p, d in groups])
    # A place for each group, farther from the others than any reach.
    positions = np.concatenate([np.full((len(p), 3), 100 * i, np.float32) for i, (p, _) in enumerate(groups)])
    owners = np.repeat(np.arange(len(groups)), [len(p) for p, _ in groups])
    offsets = np.array([0, len(pixels)], np.int32)
    asked = query() if asked is None else asked
    chosen = cpu.object_points(positions, pixels, distances, distances, offsets, asked)
    of_group = [bool(chosen[owners == i].all()) for i in range(len(groups))]
    assert sum(of_group) <= 1 and chosen.sum() == sum(
        np.count_nonzero(owners == i) for i in np.flatnonzero(of_group)
    )
    return of_group.index(True) if any(of_group) else -1


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


def test_the_height_that_the_box_has_at_its_distance_tells_which_group_it_is() -> None:
    """A box of 200 pixels is 4 m high at 10 m and 1.8 m at 4.5 m, with a focal length of 500 pixels."""
    same = spread(105, 105, 195, 295, 100)
    person = query(longest=1.4, height=1.75)

    assert choose((same, 4.5), (same.copy(), 4.0), asked=person) == 1
    assert choose((same, 10), (same.copy(), 4.5), asked=person) == 1
    assert choose((same, 10), (same.copy(), 1.0), asked=query(longest=11, height=4.0)) == 0


def test_a_box_that_the_image_cuts_off_may_be_too_low_for_its_class() -> None:
    cut = query(box=(100, 380, 200, 480), longest=1.4, height=1.75)
    same = spread(105, 385, 195, 475, 100)

    # At 4 m the box is 0.8 m high: the lower half of a person is below the image. At 1 m it is closer.
    assert choose((same, 4.0), (same.copy(), 40.0), asked=cut) == 0
    assert choose((same, 4.0), (same.copy(), 3.0), asked=cut) == 1


@pytest.mark.parametrize("pixels", [[[150, 200]], [[150, 100], [150, 300]]], ids=["a point", "a line"])
def test_a_group_without_an_extent_can_be_chosen(pixels: list[list[float]]) -> None:
    assert choose((np.array(pixels, np.float32), 10)) == 0


def test_a_person_at_the_end_of_a_wall_is_parted_from_it() -> None:
    random = np.random.default_rng(1)
    wall = random.uniform([9.9, 0.15, 0], [20, 0.25, 3], (2000, 3)).astype(np.float32)
    person = random.uniform([9.5, -0.25, 0.2], [9.7, 0.25, 1.8], (150, 3)).astype(np.float32)
    positions = np.concatenate([wall, person])
    reach = np.full(len(positions), 0.5, np.float32)
    assert cpu.link_points(positions, np.zeros(len(positions), int), reach).max() == 0
    pixels = np.stack(
        [
            500 * -positions[:, 1] / positions[:, 0] + 320,
            240 - 500 * (positions[:, 2] - 1.5) / positions[:, 0],
        ],
        axis=1,
    )
    low, high = pixels[2000:].min(axis=0), pixels[2000:].max(axis=0)
    inside = ((pixels >= low) & (pixels <= high)).all(axis=1)
    positions, pixels = positions[inside], pixels[inside].astype(np.float32)
    asked = query(box=(*low, *high), longest=1.4, height=1.75)

    chosen = cpu.object_points(
        positions, pixels, positions[:, 0], positions[:, 0], np.array([0, len(pixels)], np.int32), asked
    )

    np.testing.assert_array_equal(chosen, positions[:, 0] < 9.8)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
@settings(max_examples=50, deadline=None)
def test_many_boxes_at_once_are_as_each_alone(seed: int, boxes: int) -> None:
    random = np.random.default_rng(seed)
    counts = random.integers(0, 80, boxes)
    offsets = np.cumsum([0, *counts], dtype=np.int32)
    positions = random.uniform(-8, 8, (offsets[-1], 3)).astype(np.float32)
    pixels = random.uniform(90, 310, (offsets[-1], 2)).astype(np.float32)
    distances = np.linalg.norm(positions, axis=1)
    asked = np.concatenate(
        [query(longest=random.choice([1.4, 7, np.inf]), height=random.choice([0, 1.7])) for _ in counts]
    )
    asked["min_points"] = random.integers(1, 8)

    together = cpu.object_points(positions, pixels, distances, distances, offsets, asked)

    for box in range(boxes):
        own = slice(offsets[box], offsets[box + 1])
        alone = cpu.object_points(
            positions[own], pixels[own], distances[own], distances[own],
            np.array([0, counts[box]], np.int32), asked[box : box + 1],
        )  # fmt: skip
        np.testing.assert_array_equal(together[own], alone)
        assert alone.sum() == 0 or alone.sum() >= asked["min_points"][box]


def test_too_few_points_are_no_object() -> None:
    asked = query()
    asked["min_points"] = 101

    assert choose((spread(105, 105, 195, 295, 100), 10), asked=asked) == -1


def test_no_boxes_and_no_points() -> None:
    none = np.zeros(0, np.float32)

    assert cpu.object_points(
        none.reshape(0, 3), none.reshape(0, 2), none, none, np.zeros(1, np.int32), query()[:0]
    ).shape == (0,)
    assert cpu.object_points(
        none.reshape(0, 3), none.reshape(0, 2), none, none, np.zeros(2, np.int32), query()
    ).shape == (0,)


@pytest.mark.parametrize(
    ("box", "is_cut"),
    [((100, 100, 200, 300), False), ((2, 100, 200, 300), True), ((100, 2, 200, 300), True),
     ((100, 100, 638, 300), True), ((100, 100, 200, 478), True), ((3, 3, 637, 477), False)],
)  # fmt: skip
def test_which_boxes_the_image_cuts_off(box: tuple[float, ...], is_cut: bool) -> None:
    assert are_cut(query(box)).tolist() == [is_cut]
