from __future__ import annotations

import numpy as np
import pytest
from builders import detection_3d

from avperception.drawing.birds_eye import BirdsEyeView, TrueBox

PIXELS, AHEAD, BEHIND = 600, 50.0, 10.0


def view() -> BirdsEyeView:
    return BirdsEyeView(PIXELS, AHEAD, BEHIND)


def pixel_of(x: float, y: float) -> tuple[int, int]:
    """Row and column: ten pixels a metre, x up from 50 m at the top, y to the left of the middle."""
    return round((AHEAD - x) * 10), round(PIXELS / 2 - y * 10)


def changed(picture: BirdsEyeView) -> np.ndarray:
    assert picture.canvas.shape == (PIXELS, PIXELS, 3) and picture.canvas.dtype == np.uint8
    return np.asarray((picture.canvas != view().canvas).any(axis=2))


@pytest.mark.parametrize(("x", "y"), [(23.0, 6.2), (41.3, -17.1), (-7, 3), (14, 0)])
def test_a_point_lands_at_its_place(x: float, y: float) -> None:
    picture = view()

    picture.draw_points(np.array([[x, y, 1.0]], np.float32), np.array([False]))

    assert [tuple(map(int, place)) for place in np.argwhere(changed(picture))] == [pixel_of(x, y)]


def test_points_outside_of_the_picture_are_left_out() -> None:
    picture = view()
    points = [[51, 0, 0], [-11, 0, 0], [10, 31, 0], [10, -31, 0], [1e7, 1e7, 1], [-1e9, 0, 0]]

    picture.draw_points(np.array(points, np.float32), np.zeros(6, bool))

    assert not changed(picture).any()


def test_ground_is_grey_and_of_two_points_in_a_place_the_higher_is_seen() -> None:
    low, both = view(), view()
    low.draw_points(np.array([[20, 0, 0.0]], np.float32), np.array([True]))
    points = np.array([[20, 0, 2.0], [20, 0, 0.0]], np.float32)
    both.draw_points(points, np.array([False, True]))

    row, column = pixel_of(20, 0)
    assert np.ptp(low.canvas[row, column].astype(int)) < 20
    assert np.ptp(both.canvas[row, column].astype(int)) > 40


def test_no_points_change_nothing() -> None:
    picture = view()

    picture.draw_points(np.zeros((0, 3), np.float32), np.zeros(0, bool))

    assert not changed(picture).any()


@pytest.mark.parametrize("count", [0, 1])
def test_a_lane_too_short_for_a_line_is_no_error(count: int) -> None:
    picture = view()

    picture.draw_lane(np.zeros((count, 3)))

    assert changed(picture).sum() < 30


def test_a_lane_is_drawn_from_point_to_point() -> None:
    picture = view()

    picture.draw_lane(np.array([[5.0, 3, 0], [25, 3, 0], [35, 6, 0]]))

    difference = changed(picture)
    for x, y in ((6, 3), (15, 3), (25, 3), (30, 4.5), (35, 6)):
        assert difference[pixel_of(x, y)]
    assert not difference[: pixel_of(36, 0)[0]].any()


def test_a_detection_is_outlined_with_a_line_to_its_front_and_a_label_beside_it() -> None:
    picture = view()

    picture.draw_detections([detection_3d(23, 4, size=(4.0, 2.0, 1.6))])

    difference = changed(picture)
    for x, y in ((25, 4), (21, 4), (23, 5), (23, 3), (24, 4), (23, 4)):
        row, column = pixel_of(x, y)
        assert difference[row - 1 : row + 2, column - 1 : column + 2].any()
    row, column = pixel_of(22, 4)  # nothing is drawn to the rear
    assert not difference[row - 3 : row + 4, column - 3 : column + 4].any()
    assert difference[:, pixel_of(0, 2.8)[1] :].any()


def test_a_turned_box_heads_to_the_left() -> None:
    picture = view()

    picture.draw_detections([detection_3d(23, 4, size=(4.0, 2.0, 1.6), yaw=np.pi / 2)])

    difference = changed(picture)
    for x, y in ((23, 6), (23, 2), (24, 4), (22, 4), (23, 5)):
        row, column = pixel_of(x, y)
        assert difference[row - 1 : row + 2, column - 1 : column + 2].any()


def test_a_tracks_number_is_part_of_the_label() -> None:
    plain, tracked = view(), view()

    plain.draw_detections([detection_3d(23, 4)])
    tracked.draw_detections([detection_3d(23, 4).tracked(12, np.zeros(3))])

    assert (tracked.canvas != plain.canvas).any()


def test_what_is_true_is_white() -> None:
    picture = view()

    picture.draw_truth([TrueBox("car", np.array([23.0, 4, 0.8]), np.array([4.0, 2.0, 1.6]), 0.0)])

    row, column = pixel_of(23, 5)
    assert picture.canvas[row, column].min() > 200
    assert changed(picture).sum() < 2 * (40 + 20) * 3


@pytest.mark.parametrize("x", [1e6, -1e6, 50.5])
def test_a_box_outside_is_no_error(x: float) -> None:
    picture = view()

    picture.draw_detections([detection_3d(x, 0)])
    picture.draw_truth([TrueBox("car", np.array([x, 0, 0.8]), np.array([4.0, 2.0, 1.6]), 0.0)])

    changed(picture)


def test_nothing_to_draw_changes_nothing() -> None:
    picture = view()

    picture.draw_detections([])
    picture.draw_truth([])

    assert not changed(picture).any()


@pytest.mark.parametrize(
    ("pixels", "ahead", "behind"), [(400, 42.0, 8.0), (64, 20.0, 20.0), (1000, 5.0, 0.0)]
)
def test_any_size_can_be_made(pixels: int, ahead: float, behind: float) -> None:
    assert BirdsEyeView(pixels, ahead, behind).canvas.shape == (pixels, pixels, 3)
