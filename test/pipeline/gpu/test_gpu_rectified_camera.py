"""Images rectified for the networks on the GPU: the reference's results, and what a calibration costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from agreement import check_boxes, check_identical, check_masks
from frames import SceneFrame, resized
from pixels import encoded

from avperception.pipeline.camera import CameraPipeline
from avperception.pipeline.detector import DetectorSettings
from avperception.scenes import default_rig
from avperception.types import UNLABELLED, CameraModel, Image

MakePipeline = Callable[..., CameraPipeline]

SLOTS = 2


@pytest.fixture(scope="module")
def camera() -> CameraModel:
    """The synthetic road's left camera, whose lens bends; all its cameras have images of one size."""
    return default_rig().camera("left").model


@pytest.fixture(scope="module")
def images(scene: list[SceneFrame]) -> list[Image]:
    return [frame.image for frame in scene[::8]]


def test_results_are_those_of_the_reference(
    on_gpu: MakePipeline, on_cpu: MakePipeline, camera: CameraModel, images: list[Image]
) -> None:
    pipeline, reference = on_gpu(precision="fp32"), on_cpu()
    for image in images:
        found, expected = (one.process(image, camera=camera) for one in (pipeline, reference))
        check_boxes(found.detections, expected.detections, DetectorSettings().score_threshold)
        check_masks(found, expected)
        assert found.segmentation is not None and expected.segmentation is not None
        unlabelled = [result.segmentation == UNLABELLED for result in (found, expected)]
        np.testing.assert_array_equal(*unlabelled)
        assert unlabelled[0].any()


@pytest.mark.parametrize("encoding", ["rgba8", "mono16", "uyvy", "nv12", "bayer_grbg8"])
def test_images_of_each_layout_are_rectified(
    on_gpu: MakePipeline, on_cpu: MakePipeline, camera: CameraModel, images: list[Image], encoding: str
) -> None:
    image = encoded(images[0].data, encoding, with_padding=encoding != "nv12")
    found, expected = (one.process(image, camera=camera) for one in (on_gpu(precision="fp32"), on_cpu()))
    check_boxes(found.detections, expected.detections, DetectorSettings().score_threshold)
    check_masks(found, expected)


def test_a_calibration_is_captured_once_a_slot_however_often_it_comes(
    on_gpu: MakePipeline, camera: CameraModel, images: list[Image]
) -> None:
    pipeline, image = on_gpu(), images[0]
    plain = [pipeline.process(image) for _ in range(3)][-1]
    assert pipeline.captures == SLOTS
    first = [pipeline.process(image, camera=replace(camera, K=camera.K.copy())) for _ in range(5)][-1]
    assert pipeline.captures == 2 * SLOTS
    other = [pipeline.process(image, camera=replace(camera, D=0.5 * camera.D)) for _ in range(5)][-1]
    assert pipeline.captures == 3 * SLOTS
    straight = [pipeline.process(image, camera=replace(camera, D=np.zeros(5))) for _ in range(3)][-1]
    assert pipeline.captures == 4 * SLOTS
    check_identical(straight, plain)
    assert not np.array_equal(first.segmentation, other.segmentation)
    check_identical(pipeline.process(image, camera=camera), first)


def test_two_frames_under_way_may_have_two_calibrations(
    on_gpu: MakePipeline, camera: CameraModel, images: list[Image]
) -> None:
    pipeline, image = on_gpu(), images[0]
    cameras = [camera, replace(camera, D=0.5 * camera.D), None]
    expected = [pipeline.process(image, camera=each) for each in cameras]
    for turn in range(6):
        one, two = turn % 3, (turn + 1) % 3
        waiting = [pipeline.submit(image, camera=cameras[which]) for which in (one, two)]
        for which, pending in zip((one, two), waiting, strict=True):
            check_identical(pending.result(), expected[which])


def test_all_rows_are_read_where_shrinking_alone_leaves_some_out(
    on_gpu: MakePipeline, on_cpu: MakePipeline, camera: CameraModel, images: list[Image]
) -> None:
    image = resized(images[0], 4 * camera.width, 4 * camera.height)
    scale = np.array([[4.0, 1, 4], [1, 4, 4], [1, 1, 1]])
    large = replace(camera, width=image.width, height=image.height, K=camera.K * scale)
    pipeline, reference = on_gpu(precision="fp32"), on_cpu()
    pipeline.process(image)
    assert pipeline.runners[0].graph.upload_bytes < 0.9 * image.data.nbytes
    for _ in range(SLOTS):
        found = pipeline.process(image, camera=large)
    assert all(runner.graph.upload_bytes >= image.data.nbytes for runner in pipeline.runners)
    expected = reference.process(image, camera=large)
    check_boxes(found.detections, expected.detections, DetectorSettings().score_threshold)
    check_masks(found, expected)


def test_many_calibrations_do_not_fill_the_memory(
    on_gpu: MakePipeline, camera: CameraModel, images: list[Image]
) -> None:
    from avperception.pipeline.device.cuda import CudaDevice

    pipeline, image = on_gpu(), images[0]
    free = []
    for number in range(24):
        pipeline.process(image, camera=replace(camera, D=camera.D * (1 + 0.01 * number)))
        free.append(CudaDevice().memory()[0])
    assert free[8] - free[-1] < 8 << 20, "what the first few took is used again"
