"""All scores of one set of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from avperception.evaluation.boxes_2d import BoxScore2D, TrueBoxes2D
from avperception.evaluation.boxes_3d import BoxScore3D, TrueBox3D
from avperception.evaluation.masks import MaskScore
from avperception.evaluation.truth import MAX_RANGE
from avperception.types import Detection3D, Detections2D, UInt8

DIGITS = 4


@dataclass
class Score:
    """Collects images, sweeps and masks; `mask_classes` is empty where the truth has no masks."""

    class_names: tuple[str, ...]
    mask_classes: tuple[str, ...]
    sweeps: int = 0
    _boxes_2d: BoxScore2D = field(init=False)
    _boxes_3d: BoxScore3D = field(init=False)
    _masks: MaskScore = field(init=False)

    def __post_init__(self) -> None:
        self._boxes_2d = BoxScore2D(self.class_names)
        self._boxes_3d = BoxScore3D(self.class_names, max_range=MAX_RANGE)
        self._masks = MaskScore(self.mask_classes)

    def add_image(self, detections: Detections2D, truth: TrueBoxes2D) -> None:
        """Add one image's boxes."""
        self._boxes_2d.add(detections, truth)

    def add_mask(self, labels: UInt8, label_names: tuple[str, ...], truth: UInt8) -> None:
        """Add one image's class mask against the true one."""
        self._masks.add(labels, label_names, truth)

    def add_sweep(self, detections: Sequence[Detection3D], truth: Sequence[TrueBox3D]) -> None:
        """Add one sweep's fused boxes."""
        self.sweeps += 1
        self._boxes_3d.add(detections, truth)

    def summary(self) -> dict[str, Any]:
        """Give what evaluation.json holds; a score without a true object is left out, or None.

        Raises ConfigurationError when pycocotools is not installed.
        """
        medians = self._boxes_3d.median_error()
        miou = self._masks.miou() if self.mask_classes else None
        return {
            "ap50": _rounded(self._boxes_2d.ap50()),
            "ap3d_1m": _rounded(self._boxes_3d.ap()),
            "centre_error_m": {"median": None, **_rounded({_median_key(k): v for k, v in medians.items()})},
            "miou": None if miou is None else round(miou, DIGITS),
            "iou": _rounded(self._masks.iou()) if self.mask_classes else {},
            "counts": {
                "sweeps": self.sweeps,
                "boxes_2d": self._boxes_2d.counts,
                "objects_3d": self._boxes_3d.counts,
            },
        }


@dataclass
class ScoreBook:
    """The scores of everything and, apart, of each condition."""

    class_names: tuple[str, ...]
    mask_classes: tuple[str, ...]
    _all: Score = field(init=False)
    _by_condition: dict[str, Score] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._all = Score(self.class_names, self.mask_classes)

    def scores(self, condition: str | None) -> tuple[Score, ...]:
        """Give the scores to which a frame of a condition adds."""
        if condition is None:
            return (self._all,)
        new = Score(self.class_names, self.mask_classes)
        return (self._all, self._by_condition.setdefault(condition, new))

    def summary(self) -> dict[str, Any]:
        """Give what evaluation.json holds of scores; raises ConfigurationError without pycocotools."""
        by_condition = {name: score.summary() for name, score in self._by_condition.items()}
        return {**self._all.summary(), "by_condition": by_condition}


def _median_key(name: str) -> str:
    return "median" if name == "all" else name


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, DIGITS) for name, value in values.items()}
