"""The real networks on images that a lens has bent: they see them straight, results are bent again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from builders import bgr_image
from numpy.typing import NDArray

from avperception.bags.kitti_dataset import KittiDataset
from avperception.errors import MessageError
from avperception.ops import cpu
from avperception.pipeline.camera import CameraPipeline
from avperception.pipeline.detector import DetectorSettings
from avperception.pipeline.device import CpuDevice
from avperception.pipeline.network import Network
from avperception.types import UNLABELLED, CameraModel, CameraResult

Networks = Callable[[str], Network]
UInt8 = NDArray[np.uint8]

# Columns 5 to 8 of label_2 in frame 000000.
PEDESTRIAN = np.array([712.40, 143.00, 810.73, 307.92])


@pytest.fixture(scope="module")
def pipeline(networks: Networks) -> CameraPipeline:
    both = networks("yolox_nano"), networks("twinlitenet")
    return CameraPipeline("front", *both, DetectorSettings(), CpuDevice())


def wide_angle(width: int, height: int) -> CameraModel:
    """A barrel lens whose axis is left of the middle: it bends what is on the right by tens of pixels."""
    K = np.array([[0.5 * width, 0, 0.25 * width], [0, 0.5 * width, 0.51 * height], [0, 0, 1]])
    return CameraModel(width, height, K, np.array([-0.2, 0.02, 0.0, 0.0]), "plumb_bob", "camera")


def straight_pixels(camera: CameraModel) -> NDArray[np.float32]:
    """Where a rectified image has what is at each pixel (height, width, 2) of the camera's own."""
    K = cpu.Rectification(camera).K
    grid = np.stack(np.meshgrid(np.arange(camera.width), np.arange(camera.height)), axis=-1)
    rays = cpu.undistort(grid.reshape(-1, 2), camera.K, camera.D, camera.distortion_model)
    return (rays * K[[0, 1], [0, 1]] + K[:2, 2]).reshape(grid.shape).astype(np.float32)


def bent(pixels: UInt8, camera: CameraModel) -> UInt8:
    """The image that a camera takes whose rectified image is `pixels`."""
    return cv2.remap(pixels, straight_pixels(camera), np.empty(0), cv2.INTER_LINEAR)


def bent_box(box: NDArray[np.float64], camera: CameraModel) -> NDArray[np.float64]:
    """The box round the outline of a box of the rectified image, as the camera has it."""
    K = cpu.Rectification(camera).K
    steps = np.linspace(0, 1, 50)
    outline = np.concatenate(
        [np.stack([steps, np.full(50, side)], axis=1)[:, ::order] for side in (0, 1) for order in (1, -1)]
    )
    pixels = box[:2] + outline * (box[2:] - box[:2]) - 0.5
    rays = (pixels - K[:2, 2]) / K[[0, 1], [0, 1]]
    found = cpu.distort(rays, camera.K, camera.D, camera.distortion_model) + 0.5
    return np.concatenate([found.min(axis=0), found.max(axis=0)])


def overlap(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    inner = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(inner / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner))


def test_boxes_are_where_the_bent_image_has_the_objects(
    pipeline: CameraPipeline, kitti: KittiDataset
) -> None:
    straight = kitti.image("000000")
    camera = wide_angle(*straight.shape[1::-1])
    expected = pipeline.process(bgr_image(straight)).detections
    assert overlap(bent_box(PEDESTRIAN, camera), PEDESTRIAN) < 0.6, "the lens would not matter"

    result = pipeline.process(bgr_image(bent(straight, camera)), camera=camera)

    found = result.detections
    sure = np.flatnonzero(expected.scores > 0.45)
    assert len(sure) >= 1
    for row in sure:
        wanted = bent_box(expected.boxes[row].astype(float), camera)
        best = max(range(len(found)), key=lambda i: overlap(found.boxes[i], wanted))
        assert overlap(found.boxes[best], wanted) > 0.85
        assert found.scores[best] == pytest.approx(float(expected.scores[row]), abs=0.1)
        assert found.class_ids[best] == expected.class_ids[row]
    people = found.boxes[found.class_ids == found.class_names.index("person")]
    assert max(overlap(box, bent_box(PEDESTRIAN, camera)) for box in people) > 0.6
    assert (result.width, result.height) == (camera.width, camera.height)


def test_mask_and_lane_lines_are_where_the_bent_image_has_the_road(
    pipeline: CameraPipeline, video_frames: list[UInt8]
) -> None:
    straight = video_frames[0]
    camera = wide_angle(*straight.shape[1::-1])
    expected = pipeline.process(bgr_image(straight)).segmentation
    assert expected is not None

    result = pipeline.process(bgr_image(bent(straight, camera)), camera=camera)

    assert result.segmentation is not None and result.segmentation.shape == expected.shape
    places = straight_pixels(camera)
    x, y = np.rint(np.moveaxis(places, -1, 0)).astype(int)
    seen = (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height)
    assert 0.6 < seen.mean() < 0.99
    assert (result.segmentation[~seen] == UNLABELLED).mean() > 0.99
    moved = np.where(seen, expected[y.clip(0, camera.height - 1), x.clip(0, camera.width - 1)], UNLABELLED)
    assert (
        result.segmentation == moved
    ).mean() > 0.94  # the bent image has not all that the straight one has
    lane_class = result.segmentation_classes.index("lane_line")
    on_lines = [mask == lane_class for mask in (result.segmentation, moved, np.where(seen, expected, 0))]
    found, truly, unbent = on_lines
    assert (found & truly).sum() > 0.75 * (found | truly).sum() and truly.sum() > 2000
    assert (found & unbent).sum() < 0.5 * (found | unbent).sum(), "the lens would not matter"
    assert len(result.lanes) >= 2
    for lane in result.lanes:
        columns, rows = np.floor(lane).astype(int).T
        assert (result.segmentation[rows, columns] == lane_class).all()


def same_results(a: CameraResult, b: CameraResult) -> bool:
    return np.array_equal(a.detections.boxes, b.detections.boxes) and np.array_equal(
        np.asarray(a.segmentation), np.asarray(b.segmentation)
    )


def test_a_camera_without_distortion_changes_nothing(
    pipeline: CameraPipeline, video_frames: list[UInt8]
) -> None:
    image = bgr_image(video_frames[1])
    camera = wide_angle(image.width, image.height)

    for D in (np.zeros(0), np.zeros(5)):
        assert same_results(pipeline.process(image, camera=replace(camera, D=D)), pipeline.process(image))


def test_a_new_calibration_counts_from_the_next_image_on(
    pipeline: CameraPipeline, video_frames: list[UInt8]
) -> None:
    image = bgr_image(video_frames[2])
    one = wide_angle(image.width, image.height)
    other = replace(one, D=np.array([-0.1, 0.0, 0.0, 0.0]))

    first, changed = (pipeline.process(image, camera=camera) for camera in (one, other))

    assert not same_results(first, changed)
    assert same_results(pipeline.process(image, camera=replace(one, K=one.K.copy())), first)
    assert not same_results(pipeline.process(image), first)


def test_a_calibration_of_another_size_is_refused_and_the_next_image_taken(
    pipeline: CameraPipeline, video_frames: list[UInt8]
) -> None:
    image = bgr_image(video_frames[0])
    camera = wide_angle(image.width, image.height)

    for _ in range(3):  # more often than frames may be under way
        with pytest.raises(MessageError, match="960x480") as error:
            pipeline.process(image, camera=replace(camera, height=480))
        assert error.value.reason == "camera_info_size"

    assert pipeline.process(image, camera=camera).segmentation is not None
