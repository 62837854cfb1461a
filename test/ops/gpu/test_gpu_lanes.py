from typing import Any

import cv2
import numpy as np
import pytest

from avperception.ops import cpu

LANE = 3


def check(gpu: Any, cupy: Any, mask: np.ndarray) -> int:
    """Compare the lines found in a mask; gives their number."""
    labels = np.where(mask, LANE, 1).astype(np.uint8)
    expected = cpu.unpack_lanes(cpu.trace_lanes(labels, LANE))
    found = cpu.unpack_lanes(gpu.trace_lanes(cupy.asarray(labels), LANE).get())
    assert len(found) == len(expected)
    for own, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(own, wanted)
    return len(expected)


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
