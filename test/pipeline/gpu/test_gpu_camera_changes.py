"""A camera whose images or thresholds change, and images and memory that will not do."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from agreement import MIN_EQUAL_PIXELS, check_boxes, check_identical, equal_pixels
from builders import bgr_image, image_of
from frames import SceneFrame, resized

from avperception.errors import EngineError, MessageError
from avperception.pipeline.camera import CameraPipeline
from avperception.pipeline.detector import CANDIDATE_CAPACITY, DetectorSettings
from avperception.pipeline.device.cuda_errors import cuda_errors
from avperception.pipeline.network import Network
from avperception.types import Image

MakePipeline = Callable[..., CameraPipeline]

SLOTS = 2
MIB = 1 << 20


@pytest.fixture(scope="module")
def image(scene: list[SceneFrame]) -> Image:
    return max(scene, key=lambda frame: len(frame.truth.boxes)).image


@pytest.fixture(scope="module")
def fp32_pipeline(on_gpu: MakePipeline) -> CameraPipeline:
    return on_gpu(precision="fp32")


def test_a_changed_threshold_takes_effect_on_the_next_frame(
    on_gpu: MakePipeline, on_cpu: MakePipeline, image: Image
) -> None:
    settings = DetectorSettings(score_threshold=0.1)
    pipeline, reference = on_gpu(settings, precision="fp32"), on_cpu(settings)
    counts = []
    for score, nms in ((0.1, 0.45), (0.6, 0.45), (0.6, 0.05), (1.0, 0.45), (0.1, 0.45)):
        settings.score_threshold, settings.nms_threshold = score, nms
        found, expected = pipeline.process(image).detections, reference.process(image).detections
        check_boxes(found, expected, score)
        assert (found.scores >= score).all()
        counts.append(len(found))
    assert counts[0] > counts[1] >= counts[2] and counts[3] == 0 and counts[4] == counts[0]


def test_captures_are_counted_once_a_slot_and_again_for_each_change(
    on_gpu: MakePipeline, image: Image
) -> None:
    settings = DetectorSettings()
    pipeline = on_gpu(settings)
    small = resized(image, 640, 400)
    for _ in range(5):
        pipeline.process(image)
    assert pipeline.captures == SLOTS
    for _ in range(5):
        pipeline.process(small)
    assert pipeline.captures == 2 * SLOTS
    for _ in range(5):
        pipeline.process(replace(small, encoding="rgb8"))
    assert pipeline.captures == 3 * SLOTS
    settings.score_threshold = 0.5
    for _ in range(5):
        pipeline.process(replace(small, encoding="rgb8"))
    assert pipeline.captures == 4 * SLOTS


@pytest.mark.parametrize("size", [(1, 1), (2, 700), (700, 2), (33, 17), (7, 3)])
def test_tiny_and_narrow_images(
    fp32_pipeline: CameraPipeline, on_cpu: MakePipeline, size: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    found, expected = fp32_pipeline.process(bgr_image(pixels)), on_cpu().process(bgr_image(pixels))
    check_boxes(found.detections, expected.detections, 0.3)
    assert found.segmentation is not None and found.segmentation.shape == size[::-1]
    assert equal_pixels(found, expected) >= MIN_EQUAL_PIXELS


def test_more_candidates_than_capacity_keep_the_best_and_count_the_rest(
    on_gpu: MakePipeline, on_cpu: MakePipeline, image: Image
) -> None:
    settings = DetectorSettings(score_threshold=0.0, nms_threshold=0.6)
    found = on_gpu(settings, precision="fp32").process(image).detections
    expected = on_cpu(settings).process(image).detections
    assert found.overflow == expected.overflow > 0
    assert 0 < len(found) <= CANDIDATE_CAPACITY
    check_boxes(found, expected, 0.05)


BAD_IMAGES = {
    "unknown_encoding": lambda good: replace(good, encoding="rgb16f"),
    "wrong_data_size": lambda good: replace(good, data=good.data[:-1]),
    "odd_size": lambda good: image_of(np.zeros((6, 5, 2), np.uint8), "yuv422", 5, 6),
    "zero_size": lambda good: replace(good, width=0),
}


@pytest.mark.parametrize("reason", [*BAD_IMAGES])
@pytest.mark.parametrize("times", [1, 5])
def test_a_bad_image_is_one_error_and_the_next_frame_works(
    pipeline: CameraPipeline, image: Image, reason: str, times: int
) -> None:
    expected = pipeline.process(image)
    captures = pipeline.captures
    for _ in range(times):
        with pytest.raises(MessageError) as error:
            pipeline.submit(BAD_IMAGES[reason](image))
        assert error.value.reason == reason and "\n" not in str(error.value)
    for _ in range(3):
        check_identical(pipeline.process(image), expected)
    assert pipeline.captures <= captures + 1  # the slot that had not seen this size yet


@contextmanager
def memory_taken(cupy: Any, left_bytes: int) -> Iterator[None]:
    """Leave no more of the GPU's memory than this."""
    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    runtime, blocks, step = cupy.cuda.runtime, [], 1 << 40
    try:
        while step >= MIB:
            room = runtime.memGetInfo()[0] - left_bytes
            step = min(step, max(room, 0))
            try:
                blocks.append(runtime.malloc(step) if step >= MIB else 0)
            except runtime.CUDARuntimeError:
                step //= 2
        yield
    finally:
        for block in blocks:
            runtime.free(block)


def test_too_little_memory_is_said_with_the_figures_and_goes_by(
    cupy: Any, on_gpu: MakePipeline, image: Image
) -> None:
    pipeline = on_gpu()
    expected = pipeline.process(image)
    large = bgr_image(np.zeros((4000, 6000, 3), np.uint8))
    with memory_taken(cupy, 8 * MIB):
        for _ in range(2 * SLOTS):
            with pytest.raises(EngineError, match=r"\d+ of \d+ MiB are free") as error:
                pipeline.process(large)
            assert "\n" not in str(error.value)
    for _ in range(SLOTS):
        check_identical(pipeline.process(image), expected)


def test_too_little_memory_for_another_context_is_an_error_of_one_line(
    cupy: Any, gpu_network: Callable[[str, str], Network]
) -> None:
    engine = gpu_network("demo_detector", "fp16").engine
    with memory_taken(cupy, 1 * MIB), pytest.raises(EngineError) as error:
        engine.create_context()
    assert "memory" in str(error.value).lower() and "\n" not in str(error.value)
    engine.create_context().execute()


def test_errors_of_cuda_are_errors_of_the_engine(cupy: Any) -> None:
    runtime = cupy.cuda.runtime
    with pytest.raises(EngineError, match=r"no memory left for a frame .* MiB are free"), cuda_errors(cupy):
        cupy.cuda.MemoryPool().malloc(1 << 50)
    with pytest.raises(EngineError, match=r"no memory left for a frame .* MiB are free"), cuda_errors(cupy):
        runtime.malloc(1 << 50)
    with pytest.raises(EngineError, match="CUDA failed: cudaErrorInvalid"), cuda_errors(cupy):
        runtime.memcpy(0, 0, 1 << 20, 77)


def test_the_memory_of_the_gpu_is_known(cupy: Any) -> None:
    from avperception.pipeline.device.cuda import CudaDevice

    free, total = CudaDevice().memory()
    assert 0 < free <= total
    taken = cupy.cuda.runtime.malloc(256 * MIB)
    try:
        assert CudaDevice().memory()[0] <= free - 200 * MIB
    finally:
        cupy.cuda.runtime.free(taken)
