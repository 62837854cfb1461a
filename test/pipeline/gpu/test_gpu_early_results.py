"""A result that is given early is delivered while the rest of its frame is still under way."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from avperception.errors import EngineError
from avperception.pipeline.device.cuda import CudaDevice
from avperception.pipeline.device.cuda_errors import import_cupy
from avperception.pipeline.device.device import Frame, FrameRunner
from avperception.types import Image

BUSY_MS = 300.0


@pytest.fixture(params=["captured", "mapped", "one by one"])
def device(request: pytest.FixtureRequest) -> CudaDevice:
    try:
        import_cupy()
    except EngineError as error:
        pytest.skip(str(error))
    return CudaDevice(graphs=request.param != "one by one", mapped=request.param == "mapped")


def two_branches(device: CudaDevice, *, early: bool) -> FrameRunner:
    """Gives the image's first pixels at once and its last ones after a while."""

    def work(frame: Frame) -> None:
        pixels = frame.image.data.reshape(-1)

        def quick() -> None:
            frame.give("quick", pixels[:1024], early=early)

        def slow() -> None:
            frame.ops.hold(BUSY_MS)
            frame.give("slow", pixels[-1024:])

        frame.reads(None)
        frame.fork(quick, slow)

    return device.make_runner(work)


def image(value: int) -> Image:
    pixels = np.full((64, 64), value, np.uint8)
    return Image(pixels, "mono8", 64, 64, 0, "camera")


def run(runner: FrameRunner, value: int) -> list[tuple[str, NDArray[Any], float]]:
    """The results in the order they came, each with the milliseconds it took."""
    found: list[tuple[str, NDArray[Any], float]] = []
    start_s = time.perf_counter()
    runner.launch(
        image(value),
        "mono8",
        lambda name, array: found.append((name, array, 1e3 * (time.perf_counter() - start_s))),
    )
    runner.wait()
    return found


def test_an_early_result_does_not_wait_for_the_rest(device: CudaDevice) -> None:
    runner = two_branches(device, early=True)
    run(runner, 0)  # captured
    for value in (1, 2, 3, 4):
        (first, quick, quick_ms), (second, slow, slow_ms) = run(runner, value)
        assert (first, second) == ("quick", "slow")
        assert np.all(quick == value) and np.all(slow == value) and len(quick) == len(slow) == 1024
        assert quick_ms < BUSY_MS / 2 < BUSY_MS <= slow_ms, (quick_ms, slow_ms)


def test_a_result_that_is_not_early_comes_with_the_rest(device: CudaDevice) -> None:
    runner = two_branches(device, early=False)
    run(runner, 0)
    assert all(milliseconds >= BUSY_MS for _, _, milliseconds in run(runner, 1))


def test_a_taker_that_fails_leaves_nothing_under_way(device: CudaDevice) -> None:
    """The next frame may not write over what this one still reads."""
    runner = two_branches(device, early=True)

    def fail(name: str, array: NDArray[Any]) -> None:
        raise ValueError(name)

    runner.launch(image(1), "mono8", fail)
    start_s = time.perf_counter()
    with pytest.raises(ValueError, match="quick"):
        runner.wait()
    assert time.perf_counter() - start_s > BUSY_MS / 2e3
    assert [name for name, _, _ in run(runner, 2)] == ["quick", "slow"]
