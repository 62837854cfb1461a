"""Fused detections against a recording's own ground truth."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation

from avperception.drawing.birds_eye import TrueBox
from avperception.pipeline.sizes import group_of
from avperception.types import FusedResult

MATCH_DISTANCE = 2.0
"""Farthest a detection's centre may lie from the true one, on the ground [m]; nuScenes' widest threshold."""


def true_boxes(message: Any) -> tuple[TrueBox, ...]:
    """Read a deserialized vision_msgs/Detection3DArray as true boxes."""
    boxes = []
    for item in message.detections:
        if len(item.results) == 0:
            continue
        position, q, size = item.bbox.center.position, item.bbox.center.orientation, item.bbox.size
        yaw = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_euler("ZYX")[0]
        boxes.append(
            TrueBox(
                class_name=item.results[0].hypothesis.class_id,
                center=np.array([position.x, position.y, position.z]),
                size=np.array([size.x, size.y, size.z]),
                yaw=float(yaw),
            )
        )
    return tuple(boxes)


class TruthScore:
    """Counts true objects found, missed and invented, and how far off their centres are.

    A detection may take a true object of the same group of classes (a person for a pedestrian, a
    bicycle for a cyclist's) within 2 m on the ground, one to one, the nearest first.
    """

    def __init__(self) -> None:
        self._frames = 0
        self._objects: Counter[str] = Counter()
        self._found: Counter[str] = Counter()
        self._unmatched: Counter[str] = Counter()
        self._errors: defaultdict[str, list[float]] = defaultdict(list)

    def add(self, result: FusedResult, truth: Sequence[TrueBox]) -> None:
        """Compare one sweep's detections with the truth of the same stamp."""
        self._frames += 1
        self._objects.update(box.class_name for box in truth)
        pairs = _match(result, truth)
        for detection_index, truth_index in pairs:
            box = truth[truth_index]
            self._found[box.class_name] += 1
            error = np.linalg.norm(result.detections[detection_index].center - box.center)
            self._errors[box.class_name].append(float(error))
        matched = {index for index, _ in pairs}
        self._unmatched.update(d.class_name for i, d in enumerate(result.detections) if i not in matched)

    def summary(self) -> dict[str, Any]:
        """Give what metrics.json has under `truth`; distances in metres."""
        return {
            "frames": self._frames,
            "match_distance_m": MATCH_DISTANCE,
            "objects": dict(sorted(self._objects.items())),
            "found": dict(sorted(self._found.items())),
            "unmatched_detections": dict(sorted(self._unmatched.items())),
            "centre_error_m": {
                name: {"median": float(np.median(errors)), "max": float(np.max(errors))}
                for name, errors in sorted(self._errors.items())
            },
        }


def _match(result: FusedResult, truth: Sequence[TrueBox]) -> list[tuple[int, int]]:
    if not truth or not result.detections:
        return []
    cost = np.full((len(result.detections), len(truth)), 1e3)
    for row, detection in enumerate(result.detections):
        for column, box in enumerate(truth):
            if group_of(detection.class_name) in _groups(box.class_name):
                cost[row, column] = np.linalg.norm(detection.center[:2] - box.center[:2])
    rows, columns = linear_sum_assignment(cost)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if cost[r, c] <= MATCH_DISTANCE]


def _groups(class_name: str) -> tuple[str, ...]:
    """Give the groups a true object may be found in: detectors see a cyclist as a person on a bicycle."""
    own = group_of(class_name)
    return (own, "person") if class_name == "cyclist" else (own,)
