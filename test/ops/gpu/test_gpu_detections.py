from typing import Any

import numpy as np
import pytest

from avperception.ops import cpu
from avperception.ops.placement import letterbox

SIZE = (416, 416)
STRIDES = (8, 16, 32)
ANCHORS = 3549
PLACEMENT = letterbox((1920, 1080), SIZE, centred=False)


def head(seed: int, share: float = 0.02, classes: int = 80, dtype: Any = np.float32) -> np.ndarray:
    """A detector's output in which a share of the anchor points holds objects, many of them overlapping."""
    rng = np.random.default_rng(seed)
    output = rng.uniform(0, 1, (ANCHORS, 5 + classes)).astype(dtype)
    output[:, :2] = rng.normal(0, 1, (ANCHORS, 2))
    output[:, 2:4] = rng.normal(0.5, 1, (ANCHORS, 2))
    output[:, 4] *= rng.uniform(0, 1, ANCHORS) < share
    return output


def on_host(output: np.ndarray, score: float, iou: float) -> np.ndarray:
    grid = cpu.yolox_grid(*SIZE, STRIDES)
    found = cpu.decode_yolox(output.astype(np.float32), *grid, score)
    kept = cpu.non_maximum_suppression(*found, iou, 1024)
    return cpu.pack_detections(*found, kept, PLACEMENT, 1920, 1080)


def on_gpu(gpu: Any, cupy: Any, output: np.ndarray, score: float, iou: float) -> np.ndarray:
    grid = gpu.yolox_grid(*SIZE, STRIDES)
    found = gpu.decode_yolox(cupy.asarray(output), *grid, score)
    kept = gpu.non_maximum_suppression(*found, iou, 1024)
    return gpu.pack_detections(*found, kept, PLACEMENT, 1920, 1080).get()


def check(gpu: Any, cupy: Any, output: np.ndarray, score: float = 0.3, iou: float = 0.45) -> np.ndarray:
    """Compare all that comes out; exp() may differ in its last bits."""
    expected, packed = on_host(output, score, iou), on_gpu(gpu, cupy, output, score, iou)
    assert packed[0, :2].tolist() == expected[0, :2].tolist()
    found = packed[: len(expected)]
    np.testing.assert_allclose(found[1:, :4], expected[1:, :4], rtol=1e-5, atol=1e-2)
    np.testing.assert_array_equal(found[1:, 4:], expected[1:, 4:])
    assert not packed[len(expected) :].any()
    return expected


@pytest.mark.parametrize("seed", range(20))
def test_boxes_are_those_of_the_reference(gpu: Any, cupy: Any, seed: int) -> None:
    assert len(check(gpu, cupy, head(seed))) > 10


@pytest.mark.parametrize("classes", [1, 2, 7])
@pytest.mark.parametrize("iou", [0.0, 0.1, 0.9])
def test_few_classes_and_other_thresholds(gpu: Any, cupy: Any, classes: int, iou: float) -> None:
    for seed in range(5):
        check(gpu, cupy, head(seed, 0.1, classes), iou=iou)


def test_nothing_is_found_in_nothing(gpu: Any, cupy: Any) -> None:
    assert on_gpu(gpu, cupy, np.zeros((ANCHORS, 85), np.float32), 0.3, 0.45).any() == 0


@pytest.mark.parametrize("seed", range(5))
def test_more_candidates_than_capacity_keep_the_best(gpu: Any, cupy: Any, seed: int) -> None:
    expected = check(gpu, cupy, head(seed, share=1.0), score=0.05, iou=0.6)
    assert expected[0, 0] > 1024


def test_equal_scores_keep_their_order(gpu: Any, cupy: Any) -> None:
    output = head(3, share=1.0, classes=3)
    output[:, 4:] = 0.5
    expected = check(gpu, cupy, output, score=0.1)
    assert expected[0, 0] == ANCHORS


def test_nan_and_infinity_never_pass(gpu: Any, cupy: Any) -> None:
    output = head(5, share=1.0)
    rng = np.random.default_rng(0)
    for value in (np.nan, np.inf, -np.inf):
        rows = rng.integers(0, ANCHORS, 400)
        output[rows, rng.integers(0, output.shape[1], 400)] = value
    check(gpu, cupy, output, score=0.3)


def test_all_boxes_on_one_spot_leave_one_of_each_class(gpu: Any, cupy: Any) -> None:
    output = head(1, share=1.0, classes=4)
    cells, strides = cpu.yolox_grid(*SIZE, STRIDES)
    output[:, :2] = np.array([100, 100]) / strides - cells
    output[:, 2:4] = np.log(50 / strides)
    assert len(check(gpu, cupy, output, score=0.2)) == 1 + 4


def test_half_precision_output(gpu: Any, cupy: Any) -> None:
    check(gpu, cupy, head(2, dtype=np.float16))


def test_boxes_that_touch_along_an_edge_do_not_overlap(gpu: Any, cupy: Any) -> None:
    output = head(4, share=0.0, classes=1)
    output[:40, :4] = [0.5, 0.5, 0, 0]  # each box fills its own cell
    output[:40, 4:] = 1.0
    expected = check(gpu, cupy, output, iou=0.0)
    assert len(expected) == 1 + 40
