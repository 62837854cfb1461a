"""How well a converted network does its task, measured against the FP32 network's own results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avperception.errors import ModelError
from avperception.models.card import BACKGROUND, ModelCard
from avperception.ops import cpu
from avperception.types import Float32, Int32, UInt8

Outputs = Mapping[str, NDArray[Any]]
"""A network's output arrays by tensor name."""

REFERENCE_SCORE = 0.3
"""From this score on an FP32 detection counts as true: the node's own default threshold."""
CANDIDATE_SCORE = 0.05
NMS_IOU = 0.45
MATCH_IOU = 0.5
_CAPACITY = 1024

RESAMPLES = 400
CONFIDENCE = 0.95


class TaskMetric(Protocol):
    """A measure of agreement, 1 where a network gives what FP32 gives; `name` is what reports call it."""

    name: str

    def add_reference(self, outputs: Outputs) -> None:
        """Take the FP32 outputs of the next image."""
        ...

    @property
    def measurable(self) -> bool:
        """Whether the FP32 network has found anything at all to compare with."""
        ...

    def drop(self, outputs: Sequence[Outputs]) -> float:
        """One minus the agreement over all images, their outputs in the order of the references."""
        ...

    def drop_bound(self, outputs: Sequence[Outputs]) -> float:
        """What the drop on as many other images of the same kind stays below, 19 times of 20.

        By the bootstrap over the images (Efron 1979).
        """
        ...


def task_metric(card: ModelCard, input_size: tuple[int, int]) -> TaskMetric:
    """The metric of the card's task; `input_size` is the network's width and height.

    Raises ModelError for a decoder that has none.
    """
    if card.decoder.name == "yolox":
        return DetectionAgreement(card, input_size)
    if card.decoder.name == "argmax":
        return SegmentationAgreement(card)
    raise ModelError(
        f"model {card.name}: there is no metric for decoder {card.decoder.name}: build without max_drop"
    )


_DetectionTally = tuple[Float32, NDArray[np.bool_], int]
"""Of one image: scores of the detections, which of them are true, and how many objects there are."""


class DetectionAgreement:
    """AP50 of the detections with the FP32 network's (score at least 0.3) as truth.

    All classes are pooled into one precision-recall curve, for a few hundred images hold too little of
    the rare ones; a box matches one of its own class from an IoU of 0.5 on, the best score first. The
    area is taken under the monotone envelope (PASCAL VOC from 2010 on, Everingham et al. 2015).
    """

    name = "AP50"

    def __init__(self, card: ModelCard, input_size: tuple[int, int]) -> None:
        self._output = card.decoder.output
        self._size = input_size
        self._grid: tuple[Float32, Float32] | None = None
        self._references: list[tuple[Float32, Float32, Int32]] = []

    def add_reference(self, outputs: Outputs) -> None:
        """Take the FP32 outputs of the next image."""
        self._references.append(self._decode(outputs, REFERENCE_SCORE))

    @property
    def measurable(self) -> bool:
        """Whether FP32 has detected anything."""
        return any(len(boxes) for boxes, _, _ in self._references)

    def drop(self, outputs: Sequence[Outputs]) -> float:
        """1 - AP50 over all images."""
        return detection_drop(self._tallies(outputs))

    def drop_bound(self, outputs: Sequence[Outputs]) -> float:
        """The bootstrap's bound of the drop."""
        tallies = self._tallies(outputs)
        return bootstrap_bound(
            len(tallies), lambda drawn: detection_drop([tallies[index] for index in drawn])
        )

    def _tallies(self, outputs: Sequence[Outputs]) -> list[_DetectionTally]:
        tallies = []
        for (true_boxes, _, true_ids), candidate in zip(self._references, outputs, strict=True):
            boxes, scores, class_ids = self._decode(candidate, CANDIDATE_SCORE)
            hits = _true_positives(boxes, scores, class_ids, true_boxes, true_ids)
            tallies.append((scores, hits, len(true_boxes)))
        return tallies

    def _decode(self, outputs: Outputs, threshold: float) -> tuple[Float32, Float32, Int32]:
        """Boxes in network pixels, scores and class ids, as the pipeline's detector finds them."""
        output = outputs[self._output].astype(np.float32, copy=False)
        if self._grid is None:
            width, height = self._size
            strides = cpu.yolox_strides(height, width, output.shape[1])
            self._grid = cpu.yolox_grid(height, width, strides)
        boxes, scores, class_ids = cpu.decode_yolox(output[0], *self._grid, threshold)
        kept = cpu.non_maximum_suppression(boxes, scores, class_ids, NMS_IOU, _CAPACITY)
        return boxes[kept], scores[kept], class_ids[kept]


class SegmentationAgreement:
    """Mean IoU of the labels with the FP32 network's, over the classes that it shows, all images pooled."""

    name = "mIoU"

    def __init__(self, card: ModelCard) -> None:
        ids = {name: class_id for class_id, name in enumerate(card.classes)}
        self._classes = len(card.classes)
        self._tensors = tuple(card.decoder.outputs)
        self._class_ids = [
            [None if position and name == BACKGROUND else ids[name] for name in channels]
            for position, channels in enumerate(card.decoder.outputs.values())
        ]
        self._references: list[UInt8] = []

    def add_reference(self, outputs: Outputs) -> None:
        """Take the FP32 outputs of the next image."""
        self._references.append(self._labels(outputs))

    @property
    def measurable(self) -> bool:
        """Whether there is an image."""
        return bool(self._references)

    def drop(self, outputs: Sequence[Outputs]) -> float:
        """1 - mean IoU over all images."""
        return 1.0 - mean_iou(self._confusions(outputs).sum(axis=0))

    def drop_bound(self, outputs: Sequence[Outputs]) -> float:
        """The bootstrap's bound of the drop."""
        confusions = self._confusions(outputs)
        return bootstrap_bound(len(confusions), lambda drawn: 1.0 - mean_iou(confusions[drawn].sum(axis=0)))

    def _confusions(self, outputs: Sequence[Outputs]) -> NDArray[np.int64]:
        """The confusion matrix (true class, found class) of each image."""
        count = self._classes
        confusions = np.zeros((len(outputs), count, count), dtype=np.int64)
        for confusion, reference, candidate in zip(confusions, self._references, outputs, strict=True):
            pairs = reference.astype(np.int64).ravel() * count + self._labels(candidate).ravel()
            confusion[...] = np.bincount(pairs, minlength=count**2).reshape(count, count)
        return confusions

    def _labels(self, outputs: Outputs) -> UInt8:
        logits = [outputs[name] for name in self._tensors]
        labels = np.zeros(logits[0].shape[2:], dtype=np.uint8)
        cpu.argmax_labels(logits, self._class_ids, labels)
        return labels


def detection_drop(tallies: Sequence[_DetectionTally]) -> float:
    """1 - AP50 over images, from the scores, hits and number of objects of each."""
    scores, hits, totals = zip(*tallies, strict=True)
    return 1.0 - average_precision(np.concatenate(scores), np.concatenate(hits), sum(totals))


def bootstrap_bound(images: int, drop_of: Callable[[NDArray[np.int64]], float]) -> float:
    """The drop that CONFIDENCE of as many images drawn from these, with repetition, stay below."""
    rng = np.random.default_rng(0)
    drops = [drop_of(rng.integers(0, images, images)) for _ in range(RESAMPLES)]
    return float(np.quantile(drops, CONFIDENCE))


def average_precision(scores: Float32, hits: NDArray[np.bool_], total: int) -> float:
    """Area under the monotone precision-recall curve of detections (N,) for `total` true objects."""
    if total == 0:
        return 1.0
    order = np.argsort(-scores, kind="stable")
    true_positives = np.cumsum(hits[order])
    precision = true_positives / np.arange(1, len(order) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    recall = np.concatenate([[0.0], true_positives / total])
    return float(np.sum(np.diff(recall) * envelope))


def mean_iou(confusion: NDArray[np.int64]) -> float:
    """Mean IoU of a confusion matrix (true class, found class) over the classes that are truly there."""
    both = np.diag(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    there = confusion.sum(axis=1) > 0
    return float(np.mean(both[there] / either[there])) if there.any() else 1.0


def _true_positives(
    boxes: Float32, scores: Float32, class_ids: Int32, true_boxes: Float32, true_ids: Int32
) -> NDArray[np.bool_]:
    """Which of the boxes (N, 4) take a true box (M, 4) of their class, one each, the best score first."""
    hits = np.zeros(len(boxes), dtype=np.bool_)
    if not len(boxes) or not len(true_boxes):
        return hits
    overlaps = _iou(boxes, true_boxes)
    overlaps[class_ids[:, None] != true_ids[None, :]] = 0.0
    for row in np.argsort(-scores, kind="stable"):
        column = int(overlaps[row].argmax())
        if overlaps[row, column] >= MATCH_IOU:
            hits[row] = True
            overlaps[:, column] = 0.0
    return hits


def _iou(boxes: Float32, others: Float32) -> Float32:
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)[:, None]
    other_areas = np.prod(others[:, 2:] - others[:, :2], axis=1)[None, :]
    return common / np.maximum(areas + other_areas - common, 1e-9)
