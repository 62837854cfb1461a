"""Evaluation against the ground truth of a scene: with perfect results, with the networks, with damage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import camera_result, detection_3d, detections_2d, empty_lidar
from recorded import NO_NETWORKS, read_bag, write_bag

from avperception.bags import BagReader
from avperception.errors import BagError, ConfigurationError
from avperception.replay.evaluate import Evaluation, RecordedTruth, evaluate, new_book, read_truth
from avperception.replay.replay import ReplayOptions
from avperception.scenes import Scene, default_rig, write_recording
from avperception.scenes.solid import SEGMENTATION_CLASSES
from avperception.types import CameraResult, FusedResult

DEMO = {
    "detector.model": "demo_detector",
    "segmenter.model": "demo_segmenter",
    "detector.score_threshold": 0.05,
}


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Three frames a second of two seconds of all conditions: one frame each."""
    return Scene(31, "mixed", "straight", 2.0, default_rig(1, 32), 3.0)


@pytest.fixture(scope="module")
def scene_bag(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene.mcap"
    write_recording(scene, path, processes=1)
    return path


@pytest.fixture(scope="module")
def truth(scene_bag: Path) -> RecordedTruth:
    return read_truth(scene_bag)


def run(bags: list[Path], out: Path, parameters: dict[str, Any]) -> dict[str, Any]:
    return evaluate(bags, out, ReplayOptions(parameters=parameters), lambda done, total: None)


def perfect_camera(truth: RecordedTruth, camera: str, stamp_ns: int) -> CameraResult:
    boxes = truth.boxes_2d[camera, stamp_ns]
    found = detections_2d(boxes.boxes, boxes.class_names)
    return camera_result(
        camera,
        stamp_ns,
        found,
        segmentation=truth.mask(camera, stamp_ns),
        segmentation_classes=SEGMENTATION_CLASSES,
    )


def perfect_sweep(truth: RecordedTruth, stamp_ns: int) -> FusedResult:
    found = tuple(
        replace(detection_3d(*box.center[:2], box.class_name), center=box.center)
        for box in truth.boxes_3d[stamp_ns]
    )
    return FusedResult(stamp_ns, "base_link", found, empty_lidar(stamp_ns), (), ())


def perfect_results(truth: RecordedTruth) -> Iterator[tuple[list[CameraResult], FusedResult]]:
    for stamp_ns in truth.boxes_3d:
        yield [perfect_camera(truth, "front", stamp_ns)], perfect_sweep(truth, stamp_ns)


def test_the_truth_is_the_scenes(scene: Scene, truth: RecordedTruth) -> None:
    assert len(truth.boxes_3d) == len(truth.boxes_2d) == 6
    assert truth.mask_classes == SEGMENTATION_CLASSES and truth.frame_id == "base_link"
    frame, stamp_ns = scene.frame(1 / 3), sorted(truth.boxes_3d)[1]
    assert truth.condition(stamp_ns) == frame.condition
    np.testing.assert_array_equal(truth.mask("front", stamp_ns), frame.segmentations["front"])
    np.testing.assert_allclose(
        truth.boxes_2d["front", stamp_ns].boxes, [box.box for box in frame.boxes["front"]], atol=1e-3
    )
    seen = {b.track_id: b.visible * (1 - b.truncated) for b in frame.boxes["front"]}
    expected = [
        np.hypot(*o.center[:2]) <= 40 and seen.get(o.track_id, 0) >= 0.5 and o.lidar_points >= 1
        for o in frame.objects
    ]
    assert [box.counted for box in truth.boxes_3d[stamp_ns]] == expected and any(expected)
    assert truth.mask("front", stamp_ns + 1) is None


def test_perfect_results_are_one_in_every_score(truth: RecordedTruth) -> None:
    book = new_book([truth])
    evaluation = Evaluation(truth, book)
    for cameras, fused in perfect_results(truth):
        evaluation.add(cameras, fused)
    evaluation.finish()

    summary = book.summary()

    for scores in (summary, *summary["by_condition"].values()):
        assert scores["ap50"] and set(scores["ap50"].values()) == {1.0}
        assert scores["ap3d_1m"] and set(scores["ap3d_1m"].values()) == {1.0}
        assert scores["centre_error_m"]["median"] == 0.0 and scores["miou"] == 1.0
    assert set(summary["by_condition"]) == {"day", "dusk", "night", "rain", "fog", "tunnel"}
    assert sum(s["counts"]["sweeps"] for s in summary["by_condition"].values()) == 6


def test_what_gave_no_result_is_missed(truth: RecordedTruth) -> None:
    book = new_book([truth])
    evaluation = Evaluation(truth, book)
    results = list(perfect_results(truth))
    for cameras, fused in results[: len(results) // 2]:
        evaluation.add(cameras, fused)
    evaluation.finish()

    summary = book.summary()

    assert 0 < summary["ap3d_1m"]["all"] < 0.8
    assert 0 < max(summary["ap50"].values()) < 1
    values = [scores["ap3d_1m"]["all"] for scores in summary["by_condition"].values()]
    assert sorted(values) == [0.0] * 3 + [1.0] * 3


def test_two_recordings_are_scored_together(truth: RecordedTruth) -> None:
    """They have the same stamps; one is perfect, of the other nothing is found."""
    book = new_book([truth, truth])
    first, second = Evaluation(truth, book), Evaluation(truth, book)
    for cameras, fused in perfect_results(truth):
        first.add(cameras, fused)
    first.finish()
    second.finish()

    summary = book.summary()

    assert summary["counts"]["sweeps"] == 12
    assert summary["ap50"]["car"] == pytest.approx(51 / 101, abs=0.01)


@pytest.fixture(scope="module")
def evaluated(scene_bag: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("evaluated")
    return run([scene_bag], out, DEMO), out


def test_the_packages_own_networks_see_their_world(evaluated: tuple[dict[str, Any], Path]) -> None:
    """A look at six frames; docs/evaluation.md has the measurement."""
    summary, _ = evaluated
    assert summary["frames"] == {"in": 6, "out": 6, "lost": {}}
    assert summary["ap50"]["car"] > 0.6
    assert summary["ap3d_1m"]["all"] > 0.45
    assert summary["centre_error_m"]["median"] < 0.35
    assert summary["miou"] > 0.75


def test_the_file_holds_what_is_returned(evaluated: tuple[dict[str, Any], Path]) -> None:
    summary, out = evaluated
    assert json.loads((out / "evaluation.json").read_text()) == summary
    keys = {"ap50", "ap3d_1m", "centre_error_m", "miou"}
    assert keys <= summary.keys() and "all" in summary["ap3d_1m"]
    assert all(keys <= scores.keys() for scores in summary["by_condition"].values())


def test_without_networks_nothing_is_found(scene_bag: Path, tmp_path: Path) -> None:
    summary = run([scene_bag], tmp_path, NO_NETWORKS)

    assert set(summary["ap50"].values()) == set(summary["ap3d_1m"].values()) == {0.0}
    assert summary["centre_error_m"] == {"median": None} and summary["miou"] is None


def test_a_recording_cut_off_is_scored_as_far_as_it_goes(scene_bag: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mcap"
    whole = scene_bag.read_bytes()
    cut.write_bytes(whole[: len(whole) * 7 // 10])

    summary = run([cut], tmp_path / "out", NO_NETWORKS)

    assert summary["frames"]["lost"] and 0 < summary["frames"]["out"] < 6


def test_a_recording_without_truth_is_refused(scene_bag: Path, tmp_path: Path) -> None:
    messages = [message for message in read_bag(scene_bag) if "ground_truth" not in message.topic]
    bare = write_bag(tmp_path / "bare.mcap", messages)

    with pytest.raises(BagError, match=r"bare\.mcap has no ground truth") as caught:
        run([bare], tmp_path / "out", NO_NETWORKS)
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_truth_in_another_frame_is_refused(scene_bag: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="base_link"):
        run([scene_bag], tmp_path / "out", {**NO_NETWORKS, "target_frame": "odom"})
    assert not (tmp_path / "out" / "evaluation.json").exists()


@pytest.mark.parametrize("topic", ["/ground_truth", "/front/ground_truth/segmentation"])
def test_garbage_among_the_truth_is_left_out(scene_bag: Path, tmp_path: Path, topic: str) -> None:
    messages = read_bag(scene_bag)
    index = next(i for i, message in enumerate(messages) if message.topic == topic)
    messages[index] = messages[index]._replace(cdr=b"\x00\x01\x00\x00" + b"\xff" * 40)

    with BagReader(write_bag(tmp_path / "bad.mcap", messages)) as bag:
        found = RecordedTruth(bag, {"/front": "front"})

    assert len(found.boxes_3d) == (5 if topic == "/ground_truth" else 6)
    assert sum(found.mask("front", stamp) is not None for _, stamp in found.boxes_2d) == (
        5 if "segmentation" in topic else 6
    )


def test_only_3d_truth_is_enough(kitti_bag: Path, tmp_path: Path) -> None:
    """KITTI's labels say nothing of what is seen in the camera: range alone decides."""
    found = read_truth(kitti_bag)

    assert found.boxes_2d == {} and found.mask_classes == ()
    assert any(box.counted for boxes in found.boxes_3d.values() for box in boxes)
    summary = run([kitti_bag], tmp_path, NO_NETWORKS)
    assert summary["ap50"] == {} and summary["by_condition"] == {} and summary["miou"] is None
    assert summary["ap3d_1m"]["all"] == 0.0
