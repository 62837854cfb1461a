"""A recording of a wide-angle camera, with its images rectified for the networks and without."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from avperception.evaluation.boxes_2d import BoxScore2D
from avperception.replay.evaluate import RecordedTruth, read_truth
from avperception.replay.replay import ReplayOptions, replay
from avperception.scenes import Rig, Scene, default_rig, write_recording
from avperception.types import UNLABELLED, CameraResult


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of the synthetic road's left camera."""
    path = tmp_path_factory.mktemp("drive") / "left.mcap"
    rig = Rig((default_rig(2).camera("left"),), None)
    write_recording(Scene(5, "day", "curved", 8.0, rig, 1.0), path, processes=1)
    return path


def results_of(drive: Path, out: Path, rectify: bool) -> list[CameraResult]:
    networks = {"detector.model": "demo_detector", "segmenter.model": "demo_segmenter"}
    options = ReplayOptions(parameters={**networks, "left.rectify": rectify}, max_pictures=0)
    results: list[CameraResult] = []
    summary = replay(
        drive,
        out,
        options,
        lambda done, total: None,
        lambda frame, boxes, view: results.extend(result for result, _ in frame.images),
    )
    assert not summary["frames"]["dropped"] and len(results) == 8
    return results


def average_precision(results: Sequence[CameraResult], truth: RecordedTruth) -> float:
    score = BoxScore2D(results[0].detections.class_names)
    for result in results:
        score.add(result.detections, truth.boxes_2d["left", result.stamp_ns])
    return float(np.mean(list(score.ap50().values())))


def test_results_are_in_pixels_of_the_original_image(drive: Path, tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    truth = read_truth(drive)

    plain, rectified = (results_of(drive, tmp_path / str(on), on) for on in (False, True))

    for result in rectified:
        mask, true = result.segmentation, truth.mask("left", result.stamp_ns)
        assert mask is not None and true is not None
        shown = mask != UNLABELLED
        assert 0.93 < shown.mean() < 0.97 and not shown[[0, 0, -1, -1], [0, -1, 0, -1]].any()
        assert (mask[shown] == true[shown]).mean() > 0.9
    assert average_precision(rectified, truth) > average_precision(plain, truth) - 0.15 > 0.4
    assert any(
        not np.array_equal(a.detections.boxes, b.detections.boxes)
        for a, b in zip(plain, rectified, strict=True)
    )
