from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from avperception.calibration import ImageStatistics
from avperception.calibration.choose import choose_frames

DAY = ImageStatistics(0.5, 0.2, 0.01, 0.01, 0.15, 0.6, 0.2, 0.05)


def different(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 18, 32), dtype=np.uint8)


def test_the_few_dark_frames_of_a_long_drive_are_chosen() -> None:
    """A thousand frames by day, five at night in the middle: the first N, or every tenth, would miss them."""
    rng = np.random.default_rng(1)
    frames = [replace(DAY, brightness=0.5 + rng.normal(0, 0.02)) for _ in range(1000)]
    for index in range(501, 506):
        frames[index] = replace(DAY, brightness=0.08 + 0.01 * (index - 500), dark_share=0.5)
    chosen = choose_frames(frames, different(1000), 10)
    assert len(chosen) == 10
    assert any(500 < index < 506 for index in chosen)
    assert chosen == sorted(set(chosen))


def test_a_standing_camera_is_taken_once() -> None:
    thumbnails = np.repeat(different(3), 20, axis=0)
    frames = [replace(DAY, brightness=0.3 + 0.001 * index) for index in range(60)]
    assert len(choose_frames(frames, thumbnails, 50)) == 3


@given(st.integers(1, 12), st.integers(1, 40))
def test_count_and_order(count: int, frames: int) -> None:
    statistics = [replace(DAY, brightness=index / 40) for index in range(frames)]
    chosen = choose_frames(statistics, different(frames), count)
    assert len(chosen) == min(count, frames)
    assert chosen == choose_frames(statistics, different(frames), count)


def test_no_frames() -> None:
    assert choose_frames([], np.zeros((0, 18, 32), np.uint8), 5) == []
