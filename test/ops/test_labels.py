import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avperception.ops import cpu
from avperception.ops.placement import Placement, letterbox, stretch
from avperception.types import UNLABELLED


@given(st.integers(0, 10_000), st.integers(1, 20), st.booleans())
@settings(max_examples=60, deadline=None)
def test_labels_are_numpys_argmax_of_one_output(seed: int, channels: int, half: bool) -> None:
    # Few different values, so that most pixels have ties.
    logits = np.random.default_rng(seed).integers(-3, 3, (1, channels, 9, 13))
    logits = logits.astype(np.float16 if half else np.float32)
    labels = np.full((9, 13), UNLABELLED, np.uint8)

    cpu.argmax_labels([logits], [range(channels)], labels)

    np.testing.assert_array_equal(labels, logits[0].argmax(axis=0))


def test_channels_mean_the_classes_they_are_given() -> None:
    logits = np.zeros((1, 3, 2, 3), np.float32)
    logits[0, [0, 1, 2], 0, [0, 1, 2]] = 1
    labels = np.full((2, 3), UNLABELLED, np.uint8)

    cpu.argmax_labels([logits], [[7, 0, 250]], labels)

    np.testing.assert_array_equal(labels, [[7, 0, 250], [7, 7, 7]])


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_a_later_output_is_drawn_over_an_earlier_one_but_for_none(seed: int) -> None:
    random = np.random.default_rng(seed)
    first, second = random.normal(size=(2, 1, 3, 8, 8)).astype(np.float32)
    labels = np.full((8, 8), UNLABELLED, np.uint8)

    cpu.argmax_labels([first, second], [[0, 1, 2], [None, 3, 1]], labels)

    for y in range(8):
        for x in range(8):
            over = [None, 3, 1][int(second[0, :, y, x].argmax())]
            assert labels[y, x] == (int(first[0, :, y, x].argmax()) if over is None else over)


def test_what_labels_held_before_does_not_matter() -> None:
    logits = np.random.default_rng(3).normal(size=(1, 4, 8, 8)).astype(np.float32)
    a, b = np.zeros((8, 8), np.uint8), np.full((8, 8), 254, np.uint8)

    cpu.argmax_labels([logits], [range(4)], a)
    cpu.argmax_labels([logits], [range(4)], b)

    np.testing.assert_array_equal(a, b)


def naive_labels(labels: np.ndarray, placement: Placement, width: int, height: int) -> np.ndarray:
    """The network pixel whose cell holds each image pixel's centre."""
    result = np.empty((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            # In whole numbers: 2 * centre is odd, so nothing is rounded.
            column = (2 * x + 1) * placement.width // (2 * width)
            row = (2 * y + 1) * placement.height // (2 * height)
            result[y, x] = labels[placement.top + row, placement.left + column]
    return result


@pytest.mark.parametrize(
    ("placement", "target", "size"),
    [
        (stretch((97, 55), (64, 36)), (64, 36), (97, 55)),
        (stretch((31, 17), (64, 36)), (64, 36), (31, 17)),
        (stretch((64, 36), (64, 36)), (64, 36), (64, 36)),
        (letterbox((124, 37), (41, 41), centred=False), (41, 41), (124, 37)),
        (letterbox((124, 37), (41, 41), centred=True), (41, 41), (124, 37)),
        (letterbox((37, 124), (41, 41), centred=True), (41, 41), (37, 124)),
    ],
)
def test_each_image_pixel_takes_the_nearest_network_pixel(
    placement: Placement, target: tuple[int, int], size: tuple[int, int]
) -> None:
    labels = np.random.default_rng(0).integers(0, 256, (target[1], target[0]), np.uint8)

    result = cpu.labels_to_image(labels, placement, *size)

    assert result.shape == (size[1], size[0]) and result.dtype == np.uint8
    # A centre that falls on the border of two cells may go to either.
    clear_x = (2 * np.arange(size[0]) + 1) * placement.width % (2 * size[0]) != 0
    clear_y = (2 * np.arange(size[1]) + 1) * placement.height % (2 * size[1]) != 0
    clear = np.ix_(clear_y, clear_x)
    assert clear_x.mean() > 0.9 and clear_y.mean() > 0.9
    np.testing.assert_array_equal(result[clear], naive_labels(labels, placement, *size)[clear])


def test_a_result_outlives_the_next_frame() -> None:
    labels = np.zeros((36, 64), np.uint8)
    placement = stretch((64, 36), (64, 36))
    result = cpu.labels_to_image(labels, placement, 64, 36)

    labels[...] = 9

    assert not result.any()
