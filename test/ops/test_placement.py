import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avperception.ops import cpu
from avperception.ops.placement import Placement, letterbox, stretch

SIZES = st.tuples(st.integers(1, 4000), st.integers(1, 4000))
TARGETS = st.tuples(st.integers(32, 1280), st.integers(32, 1280))


def test_letterbox_of_a_wide_image_at_the_top_left_and_centred() -> None:
    top_left = letterbox((1242, 375), (416, 416), centred=False)
    centred = letterbox((1242, 375), (416, 416), centred=True)

    assert (top_left.left, top_left.top, top_left.width, top_left.height) == (0, 0, 416, 126)
    assert (centred.left, centred.top, centred.width, centred.height) == (0, 145, 416, 126)


def test_letterbox_of_a_tall_image_centred() -> None:
    placement = letterbox((300, 600), (640, 480), centred=True)

    assert placement == Placement(200, 0, 240, 480, 0.8, 0.8)


def test_stretch_fills_the_target() -> None:
    assert stretch((1280, 720), (640, 360)) == Placement(0, 0, 640, 360, 0.5, 0.5)
    assert stretch((100, 300), (640, 360)) == Placement(0, 0, 640, 360, 6.4, 1.2)


@given(SIZES, TARGETS, st.booleans())
def test_a_letterbox_lies_inside_touches_two_sides_and_keeps_the_aspect_ratio(
    source: tuple[int, int], target: tuple[int, int], centred: bool
) -> None:
    placement = letterbox(source, target, centred)

    right, bottom = placement.left + placement.width, placement.top + placement.height
    assert placement.left >= 0 and placement.top >= 0 and right <= target[0] and bottom <= target[1]
    assert placement.width == target[0] or placement.height == target[1]
    exact = min(target[0] / source[0], target[1] / source[1])
    assert placement.width == pytest.approx(max(1, source[0] * exact), abs=0.5)
    assert placement.height == pytest.approx(max(1, source[1] * exact), abs=0.5)
    if centred:
        assert abs(placement.left - (target[0] - right)) <= 1
        assert abs(placement.top - (target[1] - bottom)) <= 1
    else:
        assert (placement.left, placement.top) == (0, 0)


@given(SIZES, TARGETS, st.sampled_from(["stretch", "top_left", "center"]), st.data())
def test_boxes_come_back_to_the_image_they_were_placed_from(
    source: tuple[int, int], target: tuple[int, int], way: str, data: st.DataObject
) -> None:
    placement = stretch(source, target) if way == "stretch" else letterbox(source, target, way == "center")
    fractions = data.draw(st.lists(st.floats(0, 1), min_size=4, max_size=4))
    x1, x2 = sorted(value * source[0] for value in fractions[:2])
    y1, y2 = sorted(value * source[1] for value in fractions[2:])
    in_network = [
        placement.left + x1 * placement.width / source[0],
        placement.top + y1 * placement.height / source[1],
        placement.left + x2 * placement.width / source[0],
        placement.top + y2 * placement.height / source[1],
    ]

    box = cpu.boxes_to_image(np.array([in_network], np.float32), placement, *source)

    # One unit in the last place of a float32 network pixel, magnified.
    tolerance = 1e-3 + 3e-4 * max(source[0] / placement.width, source[1] / placement.height)
    np.testing.assert_allclose(box, [[x1, y1, x2, y2]], atol=tolerance)
    assert box.dtype == np.float32


def test_boxes_are_cut_off_at_the_images_edges() -> None:
    placement = letterbox((1242, 375), (416, 416), centred=False)
    boxes = np.array([[-50, -50, 500, 500], [10, 200, 30, 400]], np.float32)

    result = cpu.boxes_to_image(boxes, placement, 1242, 375)

    np.testing.assert_array_equal(result[0], [0, 0, 1242, 375])
    assert result[1, 3] - result[1, 1] == 0  # it lay in the padding alone


def test_no_boxes_stay_no_boxes() -> None:
    result = cpu.boxes_to_image(np.zeros((0, 4), np.float32), stretch((8, 8), (32, 32)), 8, 8)

    assert result.shape == (0, 4)
