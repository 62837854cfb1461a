"""What a recording's ground truth says, and which of it counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from avperception.evaluation.boxes_2d import TrueBoxes2D
from avperception.evaluation.boxes_3d import TrueBox3D

MAX_RANGE = 40.0
"""Objects farther away [m] do not count."""

MIN_VISIBLE = 0.5
"""Objects of which less than this share is seen do not count."""

# What the further results of a true box carry in their scores (docs/scenes.md).
_VISIBLE, _TRUNCATED, _LIDAR_POINTS = "visible", "truncated", "lidar_points"


def visible_shares(message: Any) -> dict[str, float]:
    """Give, by track id, the share of each object that one camera sees, 0 to 1.

    `message` is a deserialized vision_msgs/Detection2DArray. Seen is what lies within the image and is
    not hidden; an object of which the message does not say counts as seen.
    """
    return {item.id: _visible_share(item) for item in message.detections}


def true_boxes_2d(message: Any) -> TrueBoxes2D:
    """Read a deserialized vision_msgs/Detection2DArray; results[0] has the position in the camera's frame.

    An object counts within MAX_RANGE of the camera, measured along the ground, if MIN_VISIBLE of it is seen.
    """
    boxes, names, counted = [], [], []
    for item in message.detections:
        if len(item.results) == 0:
            continue
        centre = item.bbox.center.position
        half = np.array([item.bbox.size_x, item.bbox.size_y]) / 2
        boxes.append([centre.x - half[0], centre.y - half[1], centre.x + half[0], centre.y + half[1]])
        names.append(item.results[0].hypothesis.class_id)
        position = item.results[0].pose.pose.position
        is_near = np.hypot(position.x, position.z) <= MAX_RANGE
        counted.append(bool(is_near and _visible_share(item) >= MIN_VISIBLE))
    return TrueBoxes2D(
        np.asarray(boxes, dtype=np.float32).reshape(-1, 4), tuple(names), np.asarray(counted, dtype=bool)
    )


def true_boxes_3d(message: Any, visible: Mapping[str, float] | None) -> tuple[TrueBox3D, ...]:
    """Read a deserialized vision_msgs/Detection3DArray.

    An object counts within MAX_RANGE of the frame's origin, along the ground, if the lidar has a point
    on it and a camera sees MIN_VISIBLE of it: `visible` is the best camera's share by track id, None in
    a recording whose truth does not tell; there range and points decide.
    """
    boxes = []
    for item in message.detections:
        if len(item.results) == 0:
            continue
        position = item.bbox.center.position
        is_near = np.hypot(position.x, position.y) <= MAX_RANGE
        is_seen = visible is None or visible.get(item.id, 0.0) >= MIN_VISIBLE
        has_points = _score(item, _LIDAR_POINTS, 1.0) >= 1.0
        boxes.append(
            TrueBox3D(
                class_name=item.results[0].hypothesis.class_id,
                center=np.array([position.x, position.y, position.z]),
                counted=bool(is_near and is_seen and has_points),
            )
        )
    return tuple(boxes)


def _visible_share(item: Any) -> float:
    return _score(item, _VISIBLE, 1.0) * (1.0 - _score(item, _TRUNCATED, 0.0))


def _score(item: Any, class_id: str, default: float) -> float:
    scores = (float(r.hypothesis.score) for r in item.results[1:] if r.hypothesis.class_id == class_id)
    return next(scores, default)
