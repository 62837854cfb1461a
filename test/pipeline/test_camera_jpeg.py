"""JPEG images through the camera's pipeline on the CPU; test/pipeline/gpu has those on a GPU."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from builders import bgr_image

from avperception.bags.kitti_dataset import KittiDataset
from avperception.errors import MessageError
from avperception.ops.jpeg import JpegImage, read_header
from avperception.pipeline.camera import CameraPipeline
from avperception.pipeline.detector import DetectorSettings
from avperception.pipeline.device import CpuDevice
from avperception.pipeline.network import Network


@pytest.fixture(scope="module")
def detector(networks: Callable[[str], Network]) -> CameraPipeline:
    return CameraPipeline("front", networks("yolox_nano"), None, DetectorSettings(), CpuDevice())


def jpeg_of(pixels: np.ndarray) -> JpegImage:
    file = cv2.imencode(".jpg", pixels)[1]
    header = read_header(file)
    assert header is not None
    return JpegImage(file, header, 42, "camera")


def test_a_jpeg_gives_what_its_decoded_image_gives(detector: CameraPipeline, kitti: KittiDataset) -> None:
    image = jpeg_of(kitti.image("000000"))
    result = detector.process(image)
    expected = detector.process(bgr_image(image.data, stamp_ns=42))
    assert len(result.detections) > 0
    np.testing.assert_array_equal(result.detections.boxes, expected.detections.boxes)
    assert (result.stamp_ns, result.width, result.height) == (42, image.width, image.height)
    assert result.stage_ms["decode"] > 0 and "decode" not in expected.stage_ms


def test_a_damaged_jpeg_is_refused_and_the_next_is_worked_on(
    detector: CameraPipeline, kitti: KittiDataset
) -> None:
    image = jpeg_of(kitti.image("000000"))
    image.file[image.file.tobytes().index(b"\xff\xc0") + 12] = 3  # a quantization table that is not there
    for _ in range(3):  # a slot that was not given back would end the pipeline
        with pytest.raises(MessageError) as caught:
            detector.process(image)
        assert caught.value.reason == "undecodable"
    assert len(detector.process(jpeg_of(kitti.image("000000"))).detections) > 0
