"""The figures of a replay by class and by condition, ready for a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ALL = "all"


@dataclass(frozen=True)
class ClassRow:
    """One class: detections counted in 2D and 3D, and what is known of how right they are, else None.

    `true_objects` and `found` are of the recording's own 3D truth; `ap50` is the 2D and `ap3d_1m` the 3D
    average precision, 0 to 1; `centre_error_m` the median distance of 3D centres from the true ones.
    """

    class_name: str
    detections_2d: int
    detections_3d: int
    true_objects: int | None
    found: int | None
    ap50: float | None
    ap3d_1m: float | None
    centre_error_m: float | None


def class_rows(summary: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> list[ClassRow]:
    """One row for every class that was detected or is in the truth, and the last one for all of them.

    `summary` is what metrics.json holds, `evaluation` what evaluation.json does.
    """
    truth = summary.get("truth", {})
    scored = (evaluation or {}).get("ap50", {})
    counts = (summary["detections_2d"], summary["detections_3d"], truth.get("objects", {}), scored)
    names = sorted({name for table in counts for name in table if name != ALL})
    return [_row(name, summary, evaluation) for name in names] + [_total(summary, evaluation)]


def condition_scores(evaluation: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """The scores `ap50`, `ap3d_1m` and `miou` by row and by condition, `all` being the whole recording.

    Rows of the first two are classes, that of the last is called `mean`.
    """
    columns = {ALL: evaluation, **evaluation.get("by_condition", {})}
    if len(columns) == 2:  # one condition is the whole recording
        del columns[ALL]
    scores: dict[str, dict[str, dict[str, float]]] = {"ap50": {}, "ap3d_1m": {}, "miou": {}}
    for condition, values in columns.items():
        for score in ("ap50", "ap3d_1m"):
            for name, value in values.get(score, {}).items():
                scores[score].setdefault(name, {})[condition] = value
        if values.get("miou") is not None:
            scores["miou"].setdefault("mean", {})[condition] = values["miou"]
    return scores


def _row(name: str, summary: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> ClassRow:
    truth = summary.get("truth")
    scores = evaluation or {}
    error = scores.get("centre_error_m", {}).get(name)
    if error is None and truth is not None:
        error = truth["centre_error_m"].get(name, {}).get("median")
    return ClassRow(
        class_name=name,
        detections_2d=summary["detections_2d"].get(name, 0),
        detections_3d=summary["detections_3d"].get(name, 0),
        true_objects=None if truth is None else truth["objects"].get(name, 0),
        found=None if truth is None else truth["found"].get(name, 0),
        ap50=scores.get("ap50", {}).get(name),
        ap3d_1m=scores.get("ap3d_1m", {}).get(name),
        centre_error_m=error,
    )


def _total(summary: Mapping[str, Any], evaluation: Mapping[str, Any] | None) -> ClassRow:
    truth = summary.get("truth")
    scores = evaluation or {}
    ap50 = [value for name, value in scores.get("ap50", {}).items() if name != ALL]
    return ClassRow(
        class_name=ALL,
        detections_2d=sum(summary["detections_2d"].values()),
        detections_3d=sum(summary["detections_3d"].values()),
        true_objects=None if truth is None else sum(truth["objects"].values()),
        found=None if truth is None else sum(truth["found"].values()),
        ap50=sum(ap50) / len(ap50) if ap50 else None,
        ap3d_1m=scores.get("ap3d_1m", {}).get(ALL),
        centre_error_m=scores.get("centre_error_m", {}).get("median"),
    )
