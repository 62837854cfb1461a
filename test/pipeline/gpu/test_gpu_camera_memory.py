"""What a running camera allocates: nothing, on the device as on the host, whatever comes."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from builders import bgr_image
from frames import SceneFrame, received, resized, shifted

from avperception.pipeline.camera import CameraPipeline
from avperception.types import Image

MakePipeline = Callable[..., CameraPipeline]

FRAMES = 300
MIB = 1 << 20


class PinnedMemoryCount:
    """Counts the pinned memory that pools take from CUDA: how often, and the bytes that they have."""

    def __init__(self, cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        count = self
        self.allocations = 0
        self.held_bytes = 0

        class Counted(cupy.cuda.PinnedMemory):
            def __init__(self, size: int) -> None:
                super().__init__(size, cupy.cuda.runtime.hostAllocPortable)
                count.allocations += 1
                count.held_bytes += size

            def __del__(self) -> None:
                count.held_bytes -= self.size
                super().__del__()

        class CountedPool(cupy.cuda.PinnedMemoryPool):
            def __init__(self) -> None:
                super().__init__(lambda size: cupy.cuda.PinnedMemoryPointer(Counted(size), 0))

        monkeypatch.setattr(cupy.cuda, "PinnedMemoryPool", CountedPool)


@pytest.fixture
def pinned(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> PinnedMemoryCount:
    return PinnedMemoryCount(cupy, monkeypatch)


def device_hook(cupy: Any) -> Any:
    """A memory hook of CuPy that counts what is asked of any of its pools, and of CUDA."""

    class Count(cupy.cuda.memory_hook.MemoryHook):
        name = "count"
        from_pools = 0
        from_cuda = 0

        def malloc_preprocess(self, **_: Any) -> None:
            self.from_pools += 1

        def alloc_preprocess(self, **_: Any) -> None:
            self.from_cuda += 1

    return Count()


def used_bytes(cupy: Any) -> int:
    free, total = cupy.cuda.runtime.memGetInfo()
    return int(total - free)


@pytest.fixture(scope="module", params=["ordinary", "pinned"])
def images(scene: list[SceneFrame], cupy: Any, request: pytest.FixtureRequest) -> list[Image]:
    found = shifted([frame.image for frame in scene[::4]], 20)
    return [received(image) for image in found] if request.param == "pinned" else found


def overlapped(pipeline: CameraPipeline, images: list[Image], count: int) -> None:
    """Two frames at a time, as the node does."""
    before = pipeline.submit(images[0])
    for number in range(1, count):
        pending = pipeline.submit(images[number % len(images)])
        before.result()
        before = pending
    before.result()


def test_a_running_camera_allocates_nothing(
    cupy: Any, on_gpu: MakePipeline, images: list[Image], pinned: PinnedMemoryCount
) -> None:
    pipeline = on_gpu()
    overlapped(pipeline, images, 20)
    allocations, held, used = pinned.allocations, pinned.held_bytes, used_bytes(cupy)
    assert allocations > 0
    with device_hook(cupy) as hook:
        overlapped(pipeline, images, FRAMES)
    assert (hook.from_pools, hook.from_cuda) == (0, 0)
    assert (pinned.allocations, pinned.held_bytes) == (allocations, held)
    assert used_bytes(cupy) <= used + MIB


def test_allocations_are_seen_where_stages_run_by_themselves(
    cupy: Any, on_gpu: MakePipeline, images: list[Image]
) -> None:
    """The hook of the test before counts; even so nothing is asked of CUDA any more."""
    pipeline = on_gpu(graphs=False)
    overlapped(pipeline, images, 20)
    with device_hook(cupy) as hook:
        overlapped(pipeline, images, 20)
    assert hook.from_pools > 0 and hook.from_cuda == 0


def test_a_running_camera_copies_no_image_on_the_host(pipeline: CameraPipeline, images: list[Image]) -> None:
    """NumPy's memory is traced: beside the pinned one there is none as large as an image or a mask."""
    overlapped(pipeline, images, 20)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        overlapped(pipeline, images, 40)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    smallest = images[0].width * images[0].height
    assert peak - before < smallest / 2


def test_results_in_hand_take_pinned_memory_and_give_it_back(
    on_gpu: MakePipeline, images: list[Image], pinned: PinnedMemoryCount
) -> None:
    pipeline = on_gpu()
    overlapped(pipeline, images, 20)
    before = pinned.held_bytes
    held = [pipeline.process(image) for image in images]
    taken = pinned.held_bytes - before
    assert taken >= (len(held) - 2) * images[0].width * images[0].height
    for _ in range(5):
        held.clear()
        held += [pipeline.process(image) for image in images]
        assert pinned.held_bytes - before <= 1.2 * taken
    del pipeline, held
    assert pinned.held_bytes == 0


def test_a_hundred_sizes_in_a_row_exhaust_nothing(
    cupy: Any, on_gpu: MakePipeline, images: list[Image], pinned: PinnedMemoryCount
) -> None:
    pipeline = on_gpu()
    largest = resized(images[0], 1920, 1080)
    for _ in range(4):
        pipeline.process(largest)
    gc.collect()
    used, held, captures = used_bytes(cupy), pinned.held_bytes, pipeline.captures
    rng = np.random.default_rng(0)
    sizes = [tuple(map(int, size)) for size in rng.integers((64, 64), (1920, 1080), (100, 2))]
    most_used, most_held = used, held
    for size in sizes:
        result = pipeline.process(resized(images[0], *size))
        assert result.segmentation is not None and result.segmentation.shape == size[::-1]
        most_used = max(most_used, used_bytes(cupy))
        most_held = max(most_held, pinned.held_bytes)
    assert pipeline.captures == captures + len(sizes)
    assert most_used <= used + 16 * MIB  # at no time more than two graphs, each smaller than the first
    assert most_held <= held
    pipeline.process(largest)
    pipeline.process(largest)
    assert used_bytes(cupy) <= used + 16 * MIB


def test_cameras_that_come_and_go_leave_nothing(
    cupy: Any, on_gpu: MakePipeline, images: list[Image], pinned: PinnedMemoryCount
) -> None:
    def once() -> None:
        camera = on_gpu()
        overlapped(camera, images, 6)

    once()
    once()
    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    used = used_bytes(cupy)
    gc.disable()  # nothing may wait for a collection
    try:
        for _ in range(5):
            once()
            cupy.get_default_memory_pool().free_all_blocks()
            assert pinned.held_bytes == 0
        assert used_bytes(cupy) <= used + 64 * MIB  # one camera has twice as much
    finally:
        gc.enable()


def test_an_image_larger_than_any_network(on_gpu: MakePipeline, images: list[Image]) -> None:
    pipeline = on_gpu()
    image = bgr_image(np.ascontiguousarray(resized(images[0], 4096, 2160).data))
    result = pipeline.process(image)
    assert result.segmentation is not None and result.segmentation.shape == (2160, 4096)
