"""Images that lie in pinned memory: the GPU reads them where they lie."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace

import pytest
from agreement import check_identical
from frames import SceneFrame, received, shifted
from pixels import COLOUR, GREY, blocks, encoded

from avperception.pipeline.camera import CameraPipeline
from avperception.types import CameraResult, Image

MakePipeline = Callable[..., CameraPipeline]

SLOTS = 2


@pytest.fixture(scope="module")
def images(scene: list[SceneFrame]) -> list[Image]:
    return shifted([frame.image for frame in scene[::4]], 6)


@pytest.fixture(scope="module")
def expected(on_gpu: MakePipeline, images: list[Image]) -> list[CameraResult]:
    """The results of the same images in ordinary memory."""
    pipeline = on_gpu()
    return [pipeline.process(image) for image in images]


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("mapped", [True, False])
def test_they_give_the_same_results(
    on_gpu: MakePipeline, images: list[Image], expected: list[CameraResult], graphs: bool, mapped: bool
) -> None:
    pipeline = on_gpu(graphs=graphs, mapped=mapped)
    for image, wanted in zip(images, expected, strict=True):
        result = pipeline.process(received(image, offset=76))
        check_identical(result, wanted)
        assert "copy" not in result.stage_ms
    assert pipeline.captures == SLOTS


@pytest.mark.parametrize(("offset", "padding"), [(1, 0), (4, 0), (0, 64), (12, 4), (3, 5)])
def test_they_may_lie_anywhere(
    on_gpu: MakePipeline, images: list[Image], expected: list[CameraResult], offset: int, padding: int
) -> None:
    pipeline = on_gpu()
    for image, wanted in zip(images[:3], expected, strict=False):
        check_identical(pipeline.process(received(image, offset, padding)), wanted)


@pytest.mark.parametrize("encoding", COLOUR + GREY)
@pytest.mark.parametrize("size", [(322, 182), (38, 22)])
def test_in_every_encoding(on_gpu: MakePipeline, encoding: str, size: tuple[int, int]) -> None:
    pipeline = on_gpu()
    image = encoded(blocks(size[1], size[0]), encoding)
    wanted = pipeline.process(image)
    check_identical(pipeline.process(received(image)), wanted)


def test_both_kinds_by_turns(on_gpu: MakePipeline, images: list[Image], expected: list[CameraResult]) -> None:
    pipeline = on_gpu()
    for image, wanted in zip(images, expected, strict=True):
        check_identical(pipeline.process(received(image)), wanted)
        check_identical(pipeline.process(image), wanted)
        check_identical(pipeline.process(received(image)), wanted)


def test_two_frames_at_once(on_gpu: MakePipeline, images: list[Image], expected: list[CameraResult]) -> None:
    pipeline = on_gpu()
    wanted = iter(expected * 10)
    before = pipeline.submit(received(images[0]))
    for image in (images * 10)[1:]:
        pending = pipeline.submit(received(image))
        check_identical(before.result(), next(wanted))
        before = pending
    check_identical(before.result(), next(wanted))


def test_one_is_held_until_its_result_is_there_and_no_longer(
    on_gpu: MakePipeline, images: list[Image], expected: list[CameraResult]
) -> None:
    pipeline = on_gpu()
    pipeline.process(received(images[0]))
    image = received(images[1])
    pixels = weakref.ref(image.data)
    pending = pipeline.submit(image)
    del image
    gc.collect()
    assert pixels() is not None
    check_identical(pending.result(), expected[1])
    del pending
    gc.collect()
    assert pixels() is None


def test_one_that_may_be_written_to_is_copied(
    on_gpu: MakePipeline, images: list[Image], expected: list[CameraResult]
) -> None:
    pipeline = on_gpu()
    assert pipeline.image_memory is not None
    data = pipeline.image_memory(images[0].data.nbytes).reshape(images[0].data.shape)
    data[...] = images[0].data
    pending = pipeline.submit(replace(images[0], data=data))
    data[...] = 0
    result = pending.result()
    check_identical(result, expected[0])
    assert "copy" in result.stage_ms


def test_one_that_is_turned_round_is_copied(on_gpu: MakePipeline, images: list[Image]) -> None:
    pipeline = on_gpu()
    image = received(images[0])
    for data in (image.data[::-1], image.data[:, ::-1]):
        result = pipeline.process(replace(image, data=data))
        check_identical(result, pipeline.process(replace(image, data=data.copy())))
        assert "copy" in result.stage_ms


def test_read_only_images_in_ordinary_memory_are_copied(
    on_gpu: MakePipeline, images: list[Image], expected: list[CameraResult]
) -> None:
    data = images[0].data.copy()
    data.flags.writeable = False
    result = on_gpu().process(replace(images[0], data=data))
    check_identical(result, expected[0])
    assert "copy" in result.stage_ms


def test_memory_of_one_size_is_used_again_and_outlives_its_pool(on_gpu: MakePipeline) -> None:
    make_memory = on_gpu().image_memory
    assert make_memory is not None
    first = make_memory(1 << 20)
    address = first.ctypes.data
    del first
    again = make_memory(1 << 20)
    assert again.ctypes.data == address
    again[...] = 7
    for size in range(1, 100):
        make_memory(size << 12)[...] = 1
    assert (again == 7).all()


def test_memory_of_many_sizes_does_not_pile_up(on_gpu: MakePipeline) -> None:
    make_memory = on_gpu().image_memory
    assert make_memory is not None
    pools = []
    for size in range(1, 20):
        make_memory(size << 12)
        pools.append(weakref.ref(make_memory._pool))
    gc.collect()
    assert sum(pool() is not None for pool in pools) == 1
