"""The GPU against the reference: ONNX Runtime and the host's operations, in FP32 and FP16."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from agreement import MIN_EQUAL_PIXELS, check_boxes, check_masks, equal_pixels
from builders import bgr_image
from frames import SceneFrame
from pixels import encoded

from avperception.bags.kitti_dataset import KittiDataset
from avperception.evaluation.boxes_2d import BoxScore2D, TrueBoxes2D
from avperception.ops.encodings import PIXEL_FORMATS
from avperception.pipeline.camera import CameraPipeline
from avperception.pipeline.detector import DetectorSettings
from avperception.types import CameraResult, Image

MakePipeline = Callable[..., CameraPipeline]

OWN = ("demo_detector", "demo_segmenter")
SHARED = ("yolox_nano", "twinlitenet")
FP32 = {OWN: {}, SHARED: {"segmenter_precision": "fp16"}}
"""TensorRT-RTX has the products of TwinLiteNet's attention in TF32 only; a process allows that or not."""

BOTH = pytest.mark.parametrize("networks", [OWN, SHARED], ids=["own", "shared"])

THRESHOLD = 0.3

DOUBTFUL = 0.05
"""Average precision needs the doubtful boxes too."""

MAX_AP_DIFFERENCE = 0.005


@pytest.fixture(scope="module")
def both_results(
    on_gpu: MakePipeline, on_cpu: MakePipeline
) -> Callable[..., tuple[list[CameraResult], list[CameraResult]]]:
    """What the GPU, in a precision, and the reference make of images; each is computed once."""
    pipelines: dict[tuple[object, ...], CameraPipeline] = {}
    results: dict[tuple[object, ...], list[CameraResult]] = {}

    def run(
        images: Sequence[Image], networks: tuple[str, str], precision: str, name: str
    ) -> tuple[list[CameraResult], list[CameraResult]]:
        pair = []
        for kind in (precision, "reference"):
            if (networks, kind) not in pipelines:
                settings = DetectorSettings(score_threshold=DOUBTFUL)
                make = on_cpu if kind == "reference" else on_gpu
                more = {} if kind == "reference" else {"precision": precision}
                more |= FP32[networks] if kind == "fp32" else {}
                pipelines[networks, kind] = make(settings, networks, **more)
            if (networks, kind, name) not in results:
                done = [pipelines[networks, kind].process(image) for image in images]
                results[networks, kind, name] = done
            pair.append(results[networks, kind, name])
        return pair[0], pair[1]

    return run


def scene_images(scene: list[SceneFrame], networks: tuple[str, str]) -> list[Image]:
    """All of them for the package's own networks; the others take longer on the CPU."""
    return [frame.image for frame in scene[:: 1 if networks == OWN else 4]]


@BOTH
def test_fp32_gives_the_boxes_of_the_reference_on_the_synthetic_road(
    both_results: Callable[..., tuple[list[CameraResult], list[CameraResult]]],
    scene: list[SceneFrame],
    networks: tuple[str, str],
) -> None:
    found, expected = both_results(scene_images(scene, networks), networks, "fp32", "scene")
    count = 0
    for own, reference in zip(found, expected, strict=True):
        count += check_boxes(own.detections, reference.detections, THRESHOLD)
    assert count > 20


@BOTH
def test_fp32_gives_masks_and_lane_lines_of_the_reference_on_the_synthetic_road(
    both_results: Callable[..., tuple[list[CameraResult], list[CameraResult]]],
    scene: list[SceneFrame],
    networks: tuple[str, str],
) -> None:
    found, expected = both_results(scene_images(scene, networks), networks, "fp32", "scene")
    lines = [check_masks(own, reference) for own, reference in zip(found, expected, strict=True)]
    assert sum(lines) > 10


def test_fp32_gives_the_results_of_the_reference_on_kitti(
    both_results: Callable[..., tuple[list[CameraResult], list[CameraResult]]], kitti: KittiDataset
) -> None:
    images = [bgr_image(kitti.image(frame)) for frame in kitti.frames]
    found, expected = both_results(images, SHARED, "fp32", "kitti")
    count = 0
    for own, reference in zip(found, expected, strict=True):
        count += check_boxes(own.detections, reference.detections, THRESHOLD)
        check_masks(own, reference)
    assert count >= 3


@BOTH
def test_fp16_masks_are_those_of_the_reference(
    both_results: Callable[..., tuple[list[CameraResult], list[CameraResult]]],
    scene: list[SceneFrame],
    networks: tuple[str, str],
) -> None:
    found, expected = both_results(scene_images(scene, networks), networks, "fp16", "scene")
    shares = [equal_pixels(own, reference) for own, reference in zip(found, expected, strict=True)]
    assert min(shares) >= MIN_EQUAL_PIXELS


def average_precision(results: Sequence[CameraResult], truths: Sequence[TrueBoxes2D]) -> float:
    """AP50, mean over the classes in the truth."""
    pytest.importorskip("pycocotools")
    score = BoxScore2D(results[0].detections.class_names)
    for result, truth in zip(results, truths, strict=True):
        score.add(result.detections, truth)
    return float(np.mean(list(score.ap50().values())))


def test_fp16_keeps_the_average_precision_against_the_truth_of_the_recording(
    both_results: Callable[..., tuple[list[CameraResult], list[CameraResult]]], scene: list[SceneFrame]
) -> None:
    found, expected = both_results(scene_images(scene, OWN), OWN, "fp16", "scene")
    truths = [frame.truth for frame in scene]
    reference = average_precision(expected, truths)
    assert reference > 0.5
    assert abs(average_precision(found, truths) - reference) <= MAX_AP_DIFFERENCE


def test_fp16_keeps_the_average_precision_against_what_fp32_is_sure_of(
    both_results: Callable[..., tuple[list[CameraResult], list[CameraResult]]],
    scene: list[SceneFrame],
    kitti: KittiDataset,
) -> None:
    """YOLOX-Nano knows other classes than the recording: the boxes of the reference stand for the truth."""
    street = [bgr_image(kitti.image(frame)) for frame in kitti.frames]
    parts = (
        both_results(scene_images(scene, SHARED), SHARED, "fp16", "scene"),
        both_results(street, SHARED, "fp16", "kitti"),
    )
    found, expected = ([*own, *other] for own, other in zip(*parts, strict=True))
    truths = []
    for result in expected:
        sure = result.detections.scores >= THRESHOLD
        names = [result.detections.class_names[i] for i in result.detections.class_ids[sure]]
        truths.append(TrueBoxes2D(result.detections.boxes[sure], tuple(names), np.ones(sure.sum(), bool)))
    assert sum(len(truth.boxes) for truth in truths) > 20
    reference = average_precision(expected, truths)
    assert abs(average_precision(found, truths) - reference) <= MAX_AP_DIFFERENCE


@pytest.fixture(scope="module")
def fp32_pair(on_gpu: MakePipeline, on_cpu: MakePipeline) -> tuple[CameraPipeline, CameraPipeline]:
    return on_gpu(precision="fp32"), on_cpu()


@pytest.mark.parametrize("encoding", sorted(PIXEL_FORMATS))
def test_every_encoding_gives_the_result_of_the_reference(
    fp32_pair: tuple[CameraPipeline, CameraPipeline], scene: list[SceneFrame], encoding: str
) -> None:
    on_device, on_host = fp32_pair
    pixels = next(frame.pixels for frame in scene if len(frame.truth.boxes) > 10)
    image = encoded(pixels, encoding, with_padding=encoding not in ("nv12", "nv21"))

    found, expected = on_device.process(image), on_host.process(image)

    check_boxes(found.detections, expected.detections, THRESHOLD)
    check_masks(found, expected)
