"""Graph or single stages, upload or mapped memory, alone or with others: the result is the same bits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from agreement import check_identical
from frames import SceneFrame, resized, shifted

from avperception.pipeline.camera import CameraPipeline
from avperception.pipeline.detector import DetectorSettings
from avperception.types import CameraResult, Image

MakePipeline = Callable[..., CameraPipeline]

CAMERAS = 4


@pytest.fixture(scope="module")
def images(scene: list[SceneFrame]) -> list[Image]:
    return [frame.image for frame in scene[::4]]


@pytest.fixture(scope="module")
def expected(pipeline: CameraPipeline, images: list[Image]) -> list[CameraResult]:
    """One by one, through a graph."""
    results = [pipeline.process(image) for image in images]
    assert sum(len(result.detections) for result in results) > 10
    assert sum(len(result.lanes) for result in results) > 5
    return results


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("mapped", [True, False])
def test_with_graph_or_stage_by_stage_uploaded_or_mapped(
    on_gpu: MakePipeline, images: list[Image], expected: list[CameraResult], graphs: bool, mapped: bool
) -> None:
    pipeline = on_gpu(graphs=graphs, mapped=mapped)
    for image, wanted in zip(images, expected, strict=True):
        check_identical(pipeline.process(image), wanted)


def test_each_stage_is_timed_where_it_runs_by_itself(on_gpu: MakePipeline, images: list[Image]) -> None:
    pipeline = on_gpu(graphs=False)
    for image in images[:4]:
        stages = pipeline.process(image).stage_ms
    parts = {"upload", "detector_preprocess", "detector_network", "detector_decode", "deliver"}
    parts |= {"segmenter_preprocess", "segmenter_network", "segmenter_argmax", "lanes"}
    assert parts | {"copy", "wait", "gpu", "camera"} == set(stages)
    assert all(time > 0 for time in stages.values())


def test_the_steps_of_the_host_are_timed(pipeline: CameraPipeline, images: list[Image]) -> None:
    stages = [pipeline.process(image).stage_ms for image in images[:4]][-1]
    assert set(stages) == {"copy", "launch", "wait", "gpu", "camera"}
    assert stages["copy"] + stages["launch"] + stages["wait"] <= stages["gpu"] <= stages["camera"]


def test_two_frames_at_once_give_what_each_gives_alone(
    pipeline: CameraPipeline, images: list[Image], expected: list[CameraResult]
) -> None:
    for first in range(len(images) - 1):
        pending = [pipeline.submit(image) for image in images[first : first + 2]]
        for own, wanted in zip(pending, expected[first : first + 2], strict=True):
            check_identical(own.result(), wanted)


def test_a_submitted_image_need_not_be_kept(
    pipeline: CameraPipeline, images: list[Image], expected: list[CameraResult]
) -> None:
    pending = []
    for image in images[:2]:
        given = resized(image, image.width, image.height)
        pending.append(pipeline.submit(given))
        given.data[...] = 99
    for own, wanted in zip(pending, expected, strict=False):
        check_identical(own.result(), wanted)


def test_detections_are_told_with_each_frame(pipeline: CameraPipeline, images: list[Image]) -> None:
    told: list[int] = []
    for image in images[:3]:
        result = pipeline.process(image, lambda detections: told.append(len(detections)))
        assert told.pop() == len(result.detections) and not told


def in_threads(work: Sequence[Callable[[], None]]) -> None:
    """Run all at once, from one moment on; raises what the first one raised that failed."""
    start, failures = threading.Barrier(len(work)), []

    def run(one: Callable[[], None]) -> None:
        start.wait()
        try:
            one()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_four_cameras_in_four_threads_give_what_each_gives_alone(
    on_gpu: MakePipeline, images: list[Image], expected: list[CameraResult]
) -> None:
    """They capture their first frames at the same moment, and anew when their images change in size."""
    small = [resized(image, 640, 360) for image in images]
    alone = on_gpu()
    wanted = [*expected, *(alone.process(image) for image in small), *expected]
    sequence = [*images, *small, *images]
    cameras = [on_gpu(name=f"camera {number}") for number in range(CAMERAS)]

    def work(number: int) -> Callable[[], None]:
        def run() -> None:
            order = np.roll(np.arange(len(sequence)), 3 * number)
            for index in order:
                check_identical(cameras[number].process(sequence[index]), wanted[index])

        return run

    in_threads([work(number) for number in range(CAMERAS)])


def test_one_thread_may_submit_and_another_take_the_results(
    pipeline: CameraPipeline, images: list[Image], expected: list[CameraResult]
) -> None:
    pending: list[object] = []
    there = threading.Semaphore(0)

    def submit() -> None:
        for image in images:
            pending.append(pipeline.submit(image))
            there.release()

    def take() -> None:
        for number, wanted in enumerate(expected):
            assert there.acquire(timeout=60)
            check_identical(pending[number].result(), wanted)  # type: ignore[attr-defined]

    in_threads([submit, take])


def test_results_in_hand_are_never_overwritten(on_gpu: MakePipeline, images: list[Image]) -> None:
    """Neither by later frames, nor when the graph is captured anew, nor when the camera is gone."""
    pipeline = on_gpu(DetectorSettings(score_threshold=0.1))
    held = [pipeline.process(image) for image in shifted(images, 12)]
    masks = [np.array(result.segmentation) for result in held]
    boxes = [result.detections.boxes.copy() for result in held]
    lanes = [[lane.copy() for lane in result.lanes] for result in held]

    for image in shifted(images, 40):
        pipeline.process(image)
    for image in images[:3]:
        pipeline.process(resized(image, 480, 272))
    del pipeline

    others = [np.full(result.segmentation.shape, 77, np.uint8) for result in held]  # in what was freed
    assert len(others) == len(held)
    for result, mask, own_boxes, own_lanes in zip(held, masks, boxes, lanes, strict=True):
        np.testing.assert_array_equal(result.segmentation, mask)
        np.testing.assert_array_equal(result.detections.boxes, own_boxes)
        for lane, own in zip(result.lanes, own_lanes, strict=True):
            np.testing.assert_array_equal(lane, own)
