import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from avperception.ops import cpu

COORDINATES = st.integers(0, 20).map(float)
PIXELS = arrays.arrays(np.float32, st.tuples(st.integers(0, 30), st.just(2)), elements=COORDINATES)
BOXES = arrays.arrays(np.float32, st.tuples(st.integers(0, 5), st.just(4)), elements=COORDINATES)


@given(PIXELS, BOXES)
@settings(max_examples=80, deadline=None)
def test_a_box_holds_the_pixels_within_its_edges_and_on_them(pixels: np.ndarray, boxes: np.ndarray) -> None:
    found = cpu.points_in_boxes(pixels, boxes)

    assert len(found) == len(boxes)
    for rows, (x1, y1, x2, y2) in zip(found, boxes, strict=True):
        inside = [row for row, (u, v) in enumerate(pixels) if x1 <= u <= x2 and y1 <= v <= y2]
        assert rows.tolist() == inside


def test_a_pixel_that_is_none_lies_in_no_box() -> None:
    pixels = np.array([[np.nan, np.nan], [5, 5]], np.float32)

    (rows,) = cpu.points_in_boxes(pixels, np.array([[0, 0, 10, 10]], np.float32))

    assert rows.tolist() == [1]


def test_a_circle_holds_what_is_nearer_than_its_radius_at_any_height() -> None:
    points = np.array([[3, 4, 0], [3, 3.9, 90], [0, 0, -5], [3, 3.9, 0]], np.float32)
    is_asked = np.array([True, True, True, False])

    near, far = cpu.points_around(points, is_asked, np.array([[0, 0, 25], [3, 4, 1]], np.float32))

    assert near.tolist() == [1, 2]  # the border does not belong to it
    assert far.tolist() == [0, 1]


def test_selected_rows_are_taken_in_order() -> None:
    points = np.arange(15, dtype=np.float32).reshape(5, 3)

    rows = cpu.selected_rows(np.array([False, True, False, True, True]))

    assert rows.tolist() == [1, 3, 4]
    np.testing.assert_array_equal(cpu.take_rows(points, rows), points[[1, 3, 4]])
