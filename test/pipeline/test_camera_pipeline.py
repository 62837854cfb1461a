"""The real networks on real images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from builders import bgr_image, image_of

from avperception.bags.kitti_dataset import KittiDataset
from avperception.pipeline.camera import CameraPipeline
from avperception.pipeline.detector import DetectorSettings
from avperception.pipeline.device import CpuDevice
from avperception.pipeline.network import Network
from avperception.types import CameraResult, Detections2D

Networks = Callable[[str], Network]

# Columns 5 to 8 of label_2 in frame 000000, whose edges are whole pixels and a half off at most.
PEDESTRIAN = np.array([712.40, 143.00, 810.73, 307.92])


@pytest.fixture(scope="module")
def detector(networks: Networks) -> CameraPipeline:
    return CameraPipeline("front", networks("yolox_nano"), None, DetectorSettings(), CpuDevice())


@pytest.fixture(scope="module")
def segmenter(networks: Networks) -> CameraPipeline:
    return CameraPipeline("front", None, networks("twinlitenet"), DetectorSettings(), CpuDevice())


@pytest.fixture(scope="module")
def street(kitti: KittiDataset) -> np.ndarray:
    """Frame 000000, cut to even sides, which some encodings need."""
    return np.ascontiguousarray(kitti.image("000000")[:370, :1224])


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    inner = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(inner / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner))


def best(found: Detections2D, class_name: str, truth: np.ndarray) -> tuple[float, float]:
    """Overlap with the truth and score of the best box of a class."""
    rows = found.class_ids == found.class_names.index(class_name)
    pairs = zip(found.boxes[rows], found.scores[rows], strict=True)
    return max(((overlap(box, truth), float(score)) for box, score in pairs), default=(0.0, 0.0))


def test_the_pedestrian_of_kitti_is_found(detector: CameraPipeline, kitti: KittiDataset) -> None:
    result = detector.process(bgr_image(kitti.image("000000"), stamp_ns=42))

    share, score = best(result.detections, "person", PEDESTRIAN)
    assert share >= 0.6 and score > 0.5
    assert (result.camera, result.stamp_ns, result.frame_id) == ("front", 42, "camera")
    assert (result.width, result.height) == (1224, 370)


@pytest.mark.parametrize("frame", ["000000", "000002"])
def test_detections_are_what_the_bare_network_says(
    detector: CameraPipeline, kitti: KittiDataset, shared_dir: Path, frame: str
) -> None:
    """The network run on an image letterboxed here, its best anchor point decoded by hand."""
    pixels = kitti.image(frame)
    resized = cv2.resize(pixels, (416, round(pixels.shape[0] * 416 / pixels.shape[1])))
    scale = np.array(resized.shape[1::-1]) / pixels.shape[1::-1]
    canvas = np.full((416, 416, 3), 114, np.uint8)
    canvas[: len(resized)] = resized
    path = shared_dir / "models" / "yolox_nano_416.onnx"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"images": canvas.transpose(2, 0, 1)[None].astype(np.float32)})
    scores = output[0, :, 4] * output[0, :, 5:].max(axis=1)
    row = int(scores.argmax())
    stride, first = next((s, f) for s, f in ((32, 3380), (16, 2704), (8, 0)) if row >= f)
    cell = np.array([(row - first) % (416 // stride), (row - first) // (416 // stride)])
    center = (output[0, row, :2] + cell) * stride / scale
    half = np.exp(output[0, row, 2:4]) * stride / scale / 2

    found = detector.process(bgr_image(pixels)).detections

    assert found.scores[0] == pytest.approx(scores[row], abs=1e-3)
    assert found.class_ids[0] == output[0, row, 5:].argmax()
    expected = np.clip(np.concatenate([center - half, center + half]), 0, [*pixels.shape[1::-1]] * 2)
    np.testing.assert_allclose(found.boxes[0], expected, atol=0.1)


def test_detections_are_sound(detector: CameraPipeline, kitti: KittiDataset) -> None:
    for frame in kitti.frames:
        image = kitti.image(frame)
        found = detector.process(bgr_image(image)).detections
        assert (found.boxes.dtype, found.scores.dtype, found.class_ids.dtype) == (
            np.float32,
            np.float32,
            np.int32,
        )
        assert len(found) == len(found.boxes) == len(found.class_ids)
        assert len(found) or frame == "000001"  # all in it are too small for this network
        assert (np.diff(found.scores) <= 0).all() and (found.scores >= 0.3).all()
        assert (found.boxes[:, :2] >= 0).all() and (found.boxes[:, 2] <= image.shape[1]).all()
        assert (found.boxes[:, 3] <= image.shape[0]).all()
        assert ((found.boxes[:, 2:] - found.boxes[:, :2]) >= 1).all()


def encoded(bgr: np.ndarray, encoding: str) -> np.ndarray:
    """OpenCV's encoders where it has one; the rest is put together from its planar YUV."""
    codes = {"rgb8": cv2.COLOR_BGR2RGB, "rgba8": cv2.COLOR_BGR2RGBA, "bgra8": cv2.COLOR_BGR2BGRA}
    if encoding in codes:
        return cv2.cvtColor(bgr, codes[encoding])
    if encoding in ("bgr8", "8UC3"):
        return bgr
    if encoding.startswith("bayer"):
        mosaic = np.empty(bgr.shape[:2], np.uint8)
        for position, colour in enumerate(encoding[6:10]):
            row, column = divmod(position, 2)
            mosaic[row::2, column::2] = bgr[row::2, column::2, "bgr".index(colour)]
        return mosaic
    height, width = bgr.shape[:2]
    i420 = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    y, chroma = i420[:height], i420[height:].reshape(2, height // 2, width // 2)
    if encoding in ("nv12", "nv21"):
        pair = chroma if encoding == "nv12" else chroma[::-1]
        return np.concatenate([y, np.stack(pair, axis=-1).reshape(height // 2, width)])
    full = np.stack(chroma, axis=-1).reshape(height // 2, width).repeat(2, axis=0)
    return np.stack((y, full) if encoding in ("yuyv", "yuv422_yuy2") else (full, y), axis=-1)


@pytest.mark.parametrize(
    ("encoding", "pixels", "scores"),
    [(name, 0.01, 1e-4) for name in ("rgb8", "8UC3", "rgba8", "bgra8")]
    + [(name, 3, 0.05) for name in ("yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21")]
    + [(name, 6, 0.1) for name in ("bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8")],
)
def test_every_colour_encoding_gives_the_same_detections(
    detector: CameraPipeline, street: np.ndarray, encoding: str, pixels: float, scores: float
) -> None:
    expected = detector.process(bgr_image(street)).detections
    sure = expected.scores > 0.45
    assert sure.sum() >= 1

    found = detector.process(image_of(encoded(street, encoding), encoding, 1224, 370)).detections

    for box, score, class_id in zip(
        expected.boxes[sure], expected.scores[sure], expected.class_ids[sure], strict=True
    ):
        row = int(np.abs(found.boxes - box).max(axis=1).argmin())
        assert np.abs(found.boxes[row] - box).max() <= pixels
        assert found.scores[row] == pytest.approx(float(score), abs=scores)
        assert found.class_ids[row] == class_id


def test_thresholds_may_change_while_it_runs(networks: Networks, street: np.ndarray) -> None:
    settings = DetectorSettings(score_threshold=0.1)
    pipeline = CameraPipeline("front", networks("yolox_nano"), None, settings, CpuDevice())
    many = pipeline.process(bgr_image(street)).detections

    settings.score_threshold = 0.5
    few = pipeline.process(bgr_image(street)).detections
    settings.score_threshold = 1.0
    none = pipeline.process(bgr_image(street)).detections

    assert len(many) > len(few) > len(none) == 0
    np.testing.assert_array_equal(few.boxes, many.boxes[many.scores >= 0.5])
    assert none.boxes.shape == (0, 4)


def test_an_image_without_anything_gives_empty_results(
    detector: CameraPipeline, segmenter: CameraPipeline
) -> None:
    black = bgr_image(np.zeros((120, 160, 3), np.uint8))

    assert len(detector.process(black).detections) == 0
    assert segmenter.process(black).lanes == ()


def test_segmentation_that_is_not_wanted_costs_nothing(networks: Networks, street: np.ndarray) -> None:
    pipeline = CameraPipeline(
        "front", networks("yolox_nano"), networks("twinlitenet"), DetectorSettings(), CpuDevice()
    )
    whole = pipeline.process(bgr_image(street))
    part = pipeline.process(bgr_image(street), segment=False)
    again = pipeline.process(bgr_image(street))

    assert part.segmentation is None and part.lanes == () and "segmenter_network" not in part.stage_ms
    np.testing.assert_array_equal(part.detections.boxes, whole.detections.boxes)
    np.testing.assert_array_equal(again.segmentation, whole.segmentation)


@pytest.mark.parametrize("size", [(1, 1), (2, 700), (700, 2), (33, 17)])
def test_images_of_strange_sizes_are_no_error(
    detector: CameraPipeline, segmenter: CameraPipeline, size: tuple[int, int]
) -> None:
    image = bgr_image(np.full((*size, 3), 128, np.uint8))

    detector.process(image)

    result = segmenter.process(image)
    assert result.segmentation is not None and result.segmentation.shape == size


def test_lanes_and_drivable_area_are_seen_all_along_the_highway(
    segmenter: CameraPipeline, video_frames: list[np.ndarray]
) -> None:
    for frame in video_frames:
        result = segmenter.process(bgr_image(frame))

        assert result.segmentation is not None and result.segmentation.dtype == np.uint8
        assert result.segmentation.shape == frame.shape[:2]
        drivable = result.segmentation == result.segmentation_classes.index("drivable_area")
        assert drivable.mean() > 0.1
        assert drivable[: frame.shape[0] // 2].mean() < 0.02  # none of it in the sky
        assert len(result.lanes) >= 2
        # The lane that the car drives in: a line on each side of its middle.
        starts = [lane[0, 0] for lane in result.lanes if lane[0, 1] > 0.8 * frame.shape[0]]
        assert min(starts) < frame.shape[1] / 2 < max(starts)


def test_lane_lines_lie_on_lane_pixels(segmenter: CameraPipeline, video_frames: list[np.ndarray]) -> None:
    result = segmenter.process(bgr_image(video_frames[0]))
    assert result.segmentation is not None
    lane_class = result.segmentation_classes.index("lane_line")

    for lane in result.lanes:
        assert (np.diff(lane[:, 1]) < 0).all()
        columns, rows = np.floor(lane).astype(int).T
        assert (result.segmentation[rows, columns] == lane_class).all()


def test_a_result_outlives_the_next_frame(
    networks: Networks, street: np.ndarray, video_frames: list[np.ndarray]
) -> None:
    pipeline = CameraPipeline(
        "front", networks("yolox_nano"), networks("twinlitenet"), DetectorSettings(), CpuDevice()
    )
    first = pipeline.process(bgr_image(street))
    boxes, classes = first.detections.boxes.copy(), np.array(first.segmentation)

    pipeline.process(bgr_image(video_frames[0]))

    np.testing.assert_array_equal(first.detections.boxes, boxes)
    np.testing.assert_array_equal(first.segmentation, classes)


def same(a: CameraResult, b: CameraResult) -> bool:
    return (
        np.array_equal(a.detections.boxes, b.detections.boxes)
        and np.array_equal(a.detections.scores, b.detections.scores)
        and np.array_equal(a.segmentation, b.segmentation)  # type: ignore[arg-type]
        and all(np.array_equal(x, y) for x, y in zip(a.lanes, b.lanes, strict=True))
    )


def test_the_same_image_gives_the_same_bits_whatever_came_before(
    networks: Networks, street: np.ndarray, video_frames: list[np.ndarray]
) -> None:
    networks_of_both = networks("yolox_nano"), networks("twinlitenet")
    one = CameraPipeline("front", *networks_of_both, DetectorSettings(), CpuDevice())
    other = CameraPipeline("front", *networks_of_both, DetectorSettings(), CpuDevice())
    fresh = one.process(bgr_image(street))

    other.process(bgr_image(video_frames[3]))

    assert same(other.process(bgr_image(street)), fresh)


def test_a_camera_without_networks_gives_an_empty_result() -> None:
    pipeline = CameraPipeline("front", None, None, DetectorSettings(), CpuDevice())

    result = pipeline.process(bgr_image(np.zeros((20, 30, 3), np.uint8)))

    assert len(result.detections) == 0 and result.segmentation is None and result.lanes == ()
    assert (result.width, result.height) == (30, 20)


def test_each_stage_is_timed(networks: Networks, street: np.ndarray) -> None:
    pipeline = CameraPipeline(
        "front", networks("yolox_nano"), networks("twinlitenet"), DetectorSettings(), CpuDevice()
    )

    stages = pipeline.process(bgr_image(street)).stage_ms

    parts = {"detector_preprocess", "detector_network", "detector_decode"}
    parts |= {"segmenter_preprocess", "segmenter_network", "segmenter_argmax", "lanes"}
    assert parts | {"camera"} == set(stages)
    assert all(time > 0 for time in stages.values())
    assert sum(stages[part] for part in parts) <= stages["camera"]
