import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avperception.errors import ModelError
from avperception.ops import cpu

HEADS = {"P3-P5": (8, 16, 32), "P2-P5": (4, 8, 16, 32), "P3-P6": (8, 16, 32, 64), "P2-P6": (4, 8, 16, 32, 64)}
SIZES = [(416, 416), (640, 640), (736, 1280), (1088, 1920), (256, 512), (64, 64), (96, 32), (1536, 2048)]


def anchor_count(height: int, width: int, strides: tuple[int, ...]) -> int:
    return sum((height // stride) * (width // stride) for stride in strides)


FITTING = [
    (height, width, strides)
    for height, width in SIZES
    for strides in HEADS.values()
    if height % strides[-1] == 0 == width % strides[-1]
]


@pytest.mark.parametrize(("height", "width", "strides"), FITTING)
def test_strides_follow_from_size_and_anchor_count(height: int, width: int, strides: tuple[int, ...]) -> None:
    assert cpu.yolox_strides(height, width, anchor_count(height, width, strides)) == strides


def test_the_shared_networks_anchor_count() -> None:
    """3549 is the axis of yolox_nano_416's output: 52 * 52 + 26 * 26 + 13 * 13."""
    assert cpu.yolox_strides(416, 416, 3549) == (8, 16, 32)


@pytest.mark.parametrize(("height", "width", "count"), [(416, 416, 3548), (640, 640, 8401), (640, 640, 1)])
def test_a_head_of_another_form_is_refused(height: int, width: int, count: int) -> None:
    with pytest.raises(ModelError, match=rf"{count} anchor points.*{width}x{height}.*\S"):
        cpu.yolox_strides(height, width, count)


def test_the_grid_goes_row_by_row_and_stride_by_stride() -> None:
    cells, strides = cpu.yolox_grid(64, 96, (16, 32))

    expected = [(x, y) for y in range(4) for x in range(6)] + [(x, y) for y in range(2) for x in range(3)]
    np.testing.assert_array_equal(cells, expected)
    np.testing.assert_array_equal(strides, [[16]] * 24 + [[32]] * 6)


def naive_decode(
    output: NDArray[np.float32], threshold: float
) -> list[tuple[NDArray[np.float64], float, int]]:
    """One anchor point after the other, for 64x64 and strides 8, 16, 32."""
    found = []
    row = 0
    for stride in (8, 16, 32):
        for cell_y in range(64 // stride):
            for cell_x in range(64 // stride):
                x, y, log_width, log_height, objectness, *classes = (float(v) for v in output[row])
                row += 1
                class_id = max(range(len(classes)), key=lambda c: classes[c])
                score = objectness * classes[class_id]
                if not score >= threshold:
                    continue
                centre = np.array([x + cell_x, y + cell_y]) * stride
                size = np.exp([log_width, log_height]) * stride
                box = np.concatenate([centre - size / 2, centre + size / 2])
                if np.isfinite(box).all():
                    found.append((box, score, class_id))
    return found


def head_output(seed: int, classes: int = 3) -> NDArray[np.float32]:
    random = np.random.default_rng(seed)
    output = random.uniform(0, 1, (84, 5 + classes)).astype(np.float32)
    output[:, :4] = random.normal(0, 1, (84, 4))
    return output


def decode(output: NDArray[np.float32], threshold: float) -> tuple[NDArray, NDArray, NDArray]:
    return cpu.decode_yolox(output, *cpu.yolox_grid(64, 64, (8, 16, 32)), threshold)


@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.3, 0.7]), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_decoding_is_what_a_loop_over_the_anchor_points_gives(
    seed: int, threshold: float, classes: int
) -> None:
    output = head_output(seed, classes)

    boxes, scores, class_ids = decode(output, threshold)

    expected = naive_decode(output, threshold)
    assert len(boxes) == len(expected)
    for box, score, class_id, (true_box, true_score, true_class) in zip(
        boxes, scores, class_ids, expected, strict=True
    ):
        np.testing.assert_allclose(box, true_box, rtol=1e-4, atol=1e-3)
        assert (score, class_id) == (pytest.approx(true_score, rel=1e-5), true_class)
    assert (boxes.dtype, scores.dtype, class_ids.dtype) == (np.float32, np.float32, np.int32)


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", range(8))
def test_numbers_that_are_not_finite_give_no_box_and_spoil_no_other(column: int, bad: float) -> None:
    output = head_output(1)
    output[:, 4:] = 0.9
    output[40, column] = bad

    boxes, scores, _ = decode(output, 0.3)

    assert np.isfinite(boxes).all() and not np.isnan(scores).any()
    others = np.delete(np.arange(84), 40)
    assert len(boxes) >= len(others)
    clean = head_output(1)
    clean[:, 4:] = 0.9
    np.testing.assert_array_equal(boxes[:40], decode(clean, 0.3)[0][:40])


def test_a_width_beyond_all_floats_gives_no_box() -> None:
    output = head_output(1)
    output[:, 4:] = 0.9
    output[7, 2] = 200.0

    with np.errstate(over="ignore"):
        boxes, _, _ = decode(output, 0.3)

    assert len(boxes) == 83


def test_nothing_above_the_threshold_gives_empty_arrays_of_the_right_shape() -> None:
    boxes, scores, class_ids = decode(np.zeros((84, 8), np.float32), 0.3)

    assert (boxes.shape, scores.shape, class_ids.shape) == ((0, 4), (0,), (0,))
