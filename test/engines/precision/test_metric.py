"""The task metrics, on cases that can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_networks import card

from avperception.engines.precision.metric import (
    DetectionAgreement,
    SegmentationAgreement,
    average_precision,
    bootstrap_bound,
    detection_drop,
    mean_iou,
    task_metric,
)
from avperception.models.card import ModelCard


@pytest.mark.parametrize(
    ("hits", "total", "expected"),
    [
        ([True, True], 2, 1.0),
        ([True, True, False, False], 2, 1.0),  # late false positives cost nothing
        ([True, False, True], 2, 0.5 * 1 + 0.5 * 2 / 3),
        ([False, True], 1, 0.5),
        ([True], 4, 0.25),
        ([], 3, 0.0),
    ],
)
def test_average_precision(hits: list[bool], total: int, expected: float) -> None:
    scores = np.linspace(1, 0.1, len(hits), dtype=np.float32)
    assert average_precision(scores, np.array(hits, dtype=bool), total) == pytest.approx(expected)


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 20))
def test_average_precision_is_a_share(hits: list[bool], missed: int) -> None:
    total = sum(hits) + missed
    value = average_precision(
        np.linspace(1, 0, len(hits), dtype=np.float32), np.array(hits, dtype=bool), total
    )
    assert 0 <= value <= 1 + 1e-9


def test_mean_iou_leaves_out_classes_that_are_not_there() -> None:
    confusion = np.array([[8, 2, 0], [0, 10, 0], [0, 0, 0]])
    assert mean_iou(confusion) == pytest.approx((8 / 10 + 10 / 12) / 2)


def yolox_output(boxes: list[tuple[float, float, float, int]], classes: int) -> np.ndarray:
    """A head of one 64x64 input: stride 8, 16, 32; boxes of 16 pixels at (x, y) with score and class."""
    output = np.zeros((1, 64 + 16 + 4, 5 + classes), dtype=np.float32)
    for x, y, score, class_id in boxes:
        row = int(y // 8) * 8 + int(x // 8)
        output[0, row, :5] = (x / 8 - x // 8, y / 8 - y // 8, np.log(2), np.log(2), score)
        output[0, row, 5 + class_id] = 1.0
    return output


def test_detections_against_themselves_and_with_one_lost(yolox_card: ModelCard) -> None:
    metric = DetectionAgreement(yolox_card, (64, 64))
    name = yolox_card.decoder.output
    truth = yolox_output([(12, 12, 0.9, 2), (44, 44, 0.8, 0)], 80)
    assert not metric.measurable
    metric.add_reference({name: truth})
    assert metric.measurable
    assert metric.drop([{name: truth}]) == pytest.approx(0.0)
    assert metric.drop([{name: yolox_output([(12, 12, 0.9, 2)], 80)}]) == pytest.approx(0.5)
    wrong_class = yolox_output([(12, 12, 0.9, 2), (44, 44, 0.8, 1)], 80)
    assert metric.drop([{name: wrong_class}]) == pytest.approx(0.5)
    assert metric.drop([{name: np.zeros_like(truth)}]) == pytest.approx(1.0)


@given(st.integers(1, 60), st.integers(2, 40))
def test_the_bound_is_wide_where_few_images_lose_all(objects: int, images: int) -> None:
    """Of some images one has lost its objects: how many of others have is anybody's guess."""
    found = (np.full(objects, 0.9, np.float32), np.ones(objects, bool), objects)
    lost = (np.zeros(0, np.float32), np.zeros(0, bool), objects)
    tallies = [lost, *[found] * (images - 1)]
    drop = detection_drop(tallies)
    assert drop == pytest.approx(1 / images)
    bound = bootstrap_bound(images, lambda drawn: detection_drop([tallies[index] for index in drawn]))
    assert 2 / images <= bound + 1e-9 <= 5 / images


def test_the_bound_of_images_that_are_all_alike_is_the_drop(yolox_card: ModelCard) -> None:
    metric = DetectionAgreement(yolox_card, (64, 64))
    name = yolox_card.decoder.output
    truth = yolox_output([(12, 12, 0.9, 2), (44, 44, 0.8, 0)], 80)
    half = yolox_output([(12, 12, 0.9, 2)], 80)
    for _ in range(5):
        metric.add_reference({name: truth})
    assert metric.drop_bound([{name: half}] * 5) == pytest.approx(metric.drop([{name: half}] * 5))


def test_the_bound_of_masks_is_that_of_their_worse_images(tmp_path: Path) -> None:
    metric = SegmentationAgreement(card(tmp_path / "n.onnx"))
    rng = np.random.default_rng(2)
    references = [{"out": rng.standard_normal((1, 2, 8, 10)).astype(np.float32)} for _ in range(20)]
    for outputs in references:
        metric.add_reference(outputs)
    some_wrong = [{"out": -outputs["out"]} if k < 4 else outputs for k, outputs in enumerate(references)]
    assert metric.drop(references) == metric.drop_bound(references) == 0
    assert metric.drop(some_wrong) < metric.drop_bound(some_wrong) < 3 * metric.drop(some_wrong)


def test_masks_against_themselves_and_shifted(tmp_path: Path) -> None:
    metric = SegmentationAgreement(card(tmp_path / "n.onnx"))
    logits = np.zeros((1, 2, 4, 10), dtype=np.float32)
    logits[0, 1, :, 5:] = 1.0
    metric.add_reference({"out": logits})
    assert metric.drop([{"out": logits}]) == pytest.approx(0.0)
    shifted = np.roll(logits, 1, axis=3)
    shifted[0, 1, :, 0] = 0.0  # bright has 4 of 5 columns left, dark took one: IoU 4/5 and 5/6
    assert metric.drop([{"out": shifted}]) == pytest.approx(1 - (4 / 5 + 5 / 6) / 2)


def test_the_metric_follows_the_decoder(yolox_card: ModelCard, twinlitenet_card: ModelCard) -> None:
    assert task_metric(yolox_card, (416, 416)).name == "AP50"
    assert task_metric(twinlitenet_card, (640, 360)).name == "mIoU"
