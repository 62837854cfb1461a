"""Average precision of 2D boxes, by the COCO protocol at an overlap of 0.5."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from avperception.errors import ConfigurationError
from avperception.types import Bool, Detections2D, Float32

_IGNORED_AREA = 1e12
"""COCO leaves objects outside of its range of areas out of the score, found or not."""


def require_pycocotools() -> None:
    """Raise ConfigurationError, with what to install, when pycocotools is not there."""
    if importlib.util.find_spec("pycocotools") is None:
        raise ConfigurationError(
            "scoring 2D boxes needs pycocotools, which is not installed: "
            "run `pip install avperception[tools]` or `pip install pycocotools`"
        )


@dataclass(frozen=True)
class TrueBoxes2D:
    """True objects of one image: `boxes` (N, 4) x1 y1 x2 y2 pixels; `counted` (N,) False for those that
    need not be found, and must not be held against a detector that finds them.
    """

    boxes: Float32
    class_names: tuple[str, ...]
    counted: Bool


@dataclass
class BoxScore2D:
    """Collects the images of an evaluation and scores them with pycocotools (Lin et al., ECCV 2014)."""

    class_names: tuple[str, ...]
    _images: list[dict[str, Any]] = field(default_factory=list)
    _truth: list[dict[str, Any]] = field(default_factory=list)
    _found: list[dict[str, Any]] = field(default_factory=list)

    def add(self, detections: Detections2D, truth: TrueBoxes2D) -> None:
        """Add one image; classes that are not scored are left out."""
        image_id = len(self._images) + 1
        self._images.append({"id": image_id})
        for box, name, counted in zip(truth.boxes, truth.class_names, truth.counted, strict=True):
            if name in self.class_names:
                area = float(np.prod(box[2:] - box[:2])) if counted else _IGNORED_AREA
                self._truth.append({**self._row(image_id, box, name), "area": area, "iscrowd": 0})
                self._truth[-1]["id"] = len(self._truth)
        for box, score, class_id in zip(
            detections.boxes, detections.scores, detections.class_ids, strict=True
        ):
            name = detections.class_names[class_id]
            if name in self.class_names:
                self._found.append({**self._row(image_id, box, name), "score": float(score)})

    @property
    def counts(self) -> dict[str, int]:
        """Boxes that count, by class."""
        ids = [row["category_id"] for row in self._truth if row["area"] < _IGNORED_AREA]
        return {name: ids.count(i + 1) for i, name in enumerate(self.class_names)}

    def ap50(self) -> dict[str, float]:
        """Give AP at IoU 0.5 by class, for classes that have a true object that counts.

        Raises ConfigurationError when pycocotools is not installed.
        """
        if not self._found:
            counted = (row for row in self._truth if row["area"] < _IGNORED_AREA)
            present = {self.class_names[row["category_id"] - 1] for row in counted}
            return {name: 0.0 for name in self.class_names if name in present}
        precision = self._evaluate()
        scores = {}
        for index, name in enumerate(self.class_names):
            values = precision[0, :, index, 0, -1]
            if (values > -1).any():
                scores[name] = float(values[values > -1].mean())
        return scores

    def _row(self, image_id: int, box: Float32, name: str) -> dict[str, Any]:
        x1, y1, x2, y2 = map(float, box)
        category_id = self.class_names.index(name) + 1
        return {"image_id": image_id, "category_id": category_id, "bbox": [x1, y1, x2 - x1, y2 - y1]}

    def _evaluate(self) -> Any:
        require_pycocotools()
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
            truth = COCO()
            categories = [{"id": i + 1, "name": name} for i, name in enumerate(self.class_names)]
            truth.dataset = {
                "info": {},
                "images": self._images,
                "annotations": self._truth,
                "categories": categories,
            }
            truth.createIndex()
            evaluation = COCOeval(truth, truth.loadRes(self._found), "bbox")
            evaluation.params.iouThrs = np.array([0.5])
            evaluation.params.areaRng = [[0, 1e10]]
            evaluation.params.areaRngLbl = ["all"]
            evaluation.evaluate()
            evaluation.accumulate()
        return evaluation.eval["precision"]
