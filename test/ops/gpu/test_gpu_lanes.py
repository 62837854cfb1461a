from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest

from avperception.ops import cpu

LANE = 3


def check(gpu: Any, cupy: Any, mask: np.ndarray, offset: int = 0) -> int:
    """Compare the lines found in a mask, `offset` bytes behind an aligned address; gives their number."""
    return len(lengths(gpu, cupy, mask, offset))


def lengths(gpu: Any, cupy: Any, mask: np.ndarray, offset: int = 0) -> list[int]:
    """Compare the lines found in a mask as `check`; gives the number of points of each."""
    labels = np.where(mask, LANE, 1).astype(np.uint8)
    expected = cpu.trace_lanes(labels, LANE)
    memory = cupy.asarray(np.concatenate([np.full(offset, LANE, np.uint8), labels.ravel()]))
    packed = gpu.trace_lanes(memory[offset:].reshape(labels.shape), LANE).get()
    np.testing.assert_array_equal(packed[: len(expected)], expected)
    assert not packed[len(expected) :].any()
    return [len(line) for line in cpu.unpack_lanes(expected)]


def columns_mask(width: int, columns_of_rows: Sequence[Sequence[int]]) -> np.ndarray:
    """A mask with runs of three pixels around these columns, the nearest row first, all rows sampled."""
    mask = np.zeros((len(columns_of_rows), width), bool)
    for row, columns in zip(mask[::-1], columns_of_rows, strict=True):
        for column in columns:
            row[max(column - 1, 0) : column + 2] = True
    return mask


def drawn(size: tuple[int, int], seed: int) -> np.ndarray:
    """Curved, dashed and crossing lines, some ending in the middle."""
    width, height = size
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(1, 9)):
        points = rng.uniform(0, 1, (4, 2)) * (width, height)
        points[:, 1] = np.sort(points[:, 1])[::-1]
        cv2.polylines(mask, [points.astype(np.int32)], False, 1, int(rng.integers(1, 15)))
    if seed % 2:
        mask[(np.arange(height) // max(1, height // 40)) % 2 == 1] = 0
    return mask.astype(bool)


@pytest.mark.parametrize("size", [(1920, 1080), (960, 540), (1242, 375), (640, 191), (100, 60)])
def test_lines_are_those_of_the_reference(gpu: Any, cupy: Any, size: tuple[int, int]) -> None:
    assert sum(check(gpu, cupy, drawn(size, seed)) for seed in range(20)) > 10


@pytest.mark.parametrize("share", [0.0005, 0.002, 0.01, 0.5])
def test_noise_gives_the_lines_of_the_reference(gpu: Any, cupy: Any, share: float) -> None:
    for seed in range(5):
        check(gpu, cupy, np.random.default_rng(seed).uniform(size=(540, 960)) < share)


@pytest.mark.parametrize("period", [40, 41, 64, 80])
def test_many_upright_lines(gpu: Any, cupy: Any, period: int) -> None:
    check(gpu, cupy, np.tile(np.arange(960) % period < period // 2, (540, 1)))


def test_full_and_empty_masks_and_lines_at_the_edges(gpu: Any, cupy: Any) -> None:
    for mask in (np.zeros((64, 96), bool), np.ones((64, 96), bool)):
        check(gpu, cupy, mask)
    edges = np.zeros((540, 960), bool)
    edges[:, :5] = edges[:, -5:] = True
    assert check(gpu, cupy, edges) == 2


@pytest.mark.parametrize("width", [1, 5, 15, 16, 17, 63, 64, 65, 127, 1241, 2033, 2047, 2048, 2049, 4100])
def test_rows_of_any_width_at_any_address(gpu: Any, cupy: Any, width: int) -> None:
    rng = np.random.default_rng(width)
    for offset in (0, 1, 8, 15):
        lanes = rng.uniform(size=width) < min(0.5, 10 / width)
        lanes[0] = lanes[-1] = True
        mask = np.tile(lanes, (12, 1)) & (rng.uniform(size=(12, width)) > 0.05 / width)
        assert check(gpu, cupy, mask, offset) > 0
        check(gpu, cupy, mask[-1:], offset)


@pytest.mark.parametrize("lane", [0, 127, 128, 255])
def test_a_class_is_not_taken_for_another(gpu: Any, cupy: Any, lane: int) -> None:
    labels = np.tile(np.arange(256, dtype=np.uint8).repeat(2), (20, 1))
    expected = cpu.trace_lanes(labels, lane)
    found = gpu.trace_lanes(cupy.asarray(labels), lane).get()
    assert len(expected) == 1
    np.testing.assert_array_equal(found[:1], expected)
    assert not found[1:].any()


@pytest.mark.parametrize("first", [16, 48, 64, 1024, 2047, 2048, 2049])
def test_the_last_run_that_a_row_may_have(gpu: Any, cupy: Any, first: int) -> None:
    """The 24th and 25th run lie around `first`, where what one load, thread or turn reads begins."""
    width, before = 3000, min(23, first // 2 - 1)
    starts = [*(first - 2 * np.arange(1, before + 1)), first, *(first + 3 + 4 * np.arange(24 - before))]
    row = np.zeros(width, bool)
    for start in starts[:24]:
        row[start] = True
    assert check(gpu, cupy, np.tile(row, (20, 1))) == 24
    row[starts[24]] = True
    assert check(gpu, cupy, np.tile(row, (20, 1))) == 0


@pytest.mark.parametrize("seed", range(6))
def test_more_open_lines_than_a_warp_has_threads(gpu: Any, cupy: Any, seed: int) -> None:
    """Of 66 columns half a reach apart rows show some; with seed 0 one of two sets that are out of reach."""
    rng = np.random.default_rng(seed)
    width, rows = 3300, []
    for sample in range(96):
        shown = np.arange(33)[sample % 2 :: 2] * 2 if seed == 0 else rng.choice(66, 20, replace=False)
        rows.append([20 + 50 * int(column) + int(rng.integers(0, seed + 1)) for column in shown])
    assert check(gpu, cupy, columns_mask(width, rows)) == 32 or seed


@pytest.mark.parametrize(("points", "is_one"), [(3, False), (4, True), (5, True)])
def test_a_line_is_extrapolated_from_its_fourth_point_on(
    gpu: Any, cupy: Any, points: int, is_one: bool
) -> None:
    slanted = [[200 + 10 * sample] for sample in range(40)]
    for sample in range(points, points + 7):
        slanted[sample] = []
    whole, rest = 40 - 7, 40 - 7 - points
    assert lengths(gpu, cupy, columns_mask(1920, slanted)) == [whole if is_one else rest]


@pytest.mark.parametrize(("gap", "expected"), [(8, [82]), (9, [20, 61])])
def test_a_line_ends_when_too_many_rows_do_not_show_it(
    gpu: Any, cupy: Any, gap: int, expected: list[int]
) -> None:
    rows = [[] if 20 <= sample < 19 + gap else [300] for sample in range(89)]
    assert lengths(gpu, cupy, columns_mask(640, rows)) == expected
    beside = [[*row, 100] for row in rows]
    assert lengths(gpu, cupy, columns_mask(640, beside)) == [89, *expected]


def test_all_of_the_most_rows_there_can_be(gpu: Any, cupy: Any) -> None:
    rows = [[20 + 30 * line + sample // 8 for line in range(24)] for sample in range(191)]
    assert lengths(gpu, cupy, columns_mask(800, rows)) == [191] * 24


@pytest.mark.parametrize("height", [1, 7, 8, 31, 32, 33, 95, 97, 190, 192])
def test_images_of_few_rows_and_of_one_too_many(gpu: Any, cupy: Any, height: int) -> None:
    assert check(gpu, cupy, columns_mask(320, [[40, 200]] * height)) == (2 if height >= 8 else 0)


@pytest.mark.parametrize("seed", range(12))
def test_runs_and_lines_that_compete(gpu: Any, cupy: Any, seed: int) -> None:
    """Lines wander within each other's reach, vanish, and are often equally far from a run."""
    rng = np.random.default_rng(seed)
    columns = rng.integers(50, 950, 10) if seed % 2 else np.arange(300, 300 + 16 * 10, 16)
    rows = []
    for _ in range(96):
        columns = columns + 4 * rng.integers(-2, 3, len(columns))
        rows.append([int(column) for column in columns[rng.uniform(size=len(columns)) < 0.7]])
    assert check(gpu, cupy, columns_mask(1000, rows)) > 3
