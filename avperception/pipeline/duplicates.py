"""Several boxes of one object become one: it was seen by two cameras, or taken for two classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from avperception.pipeline.sizes import group_of
from avperception.types import Bool, Detection3D

SHARED = 0.5
"""Boxes with more than this part of the points of the smaller in common are one object."""


def merge_duplicates(detections: Sequence[Detection3D], fraction: float) -> tuple[Detection3D, ...]:
    """Unite boxes of one object; `detections` are by falling score, and so is what is left.

    Two of one group of classes are one object when their centres are nearer than `fraction` of the smaller
    width, or when they share points. The higher score names it; of the two geometries the one with more
    points behind it stays.
    """
    if not detections:
        return ()
    are_near, may_share = _pairs(detections, fraction)
    kept: list[Detection3D] = []
    place_of: dict[int, int] = {}  # where in `kept` the geometry of a detection stands
    for index, detection in enumerate(detections):
        twins = [
            other
            for other in np.flatnonzero(may_share[index, :index]).tolist()
            if other in place_of and (are_near[index, other] or _share(detection, detections[other]))
        ]
        if not twins:
            place_of[index] = len(kept)
            kept.append(detection)
            continue
        twin = min(twins, key=place_of.__getitem__)
        place = place_of[twin]
        named = kept[place]
        if detection.point_count > named.point_count:
            place_of[index] = place_of.pop(twin)
        kept[place] = _united(named, detection)
    return tuple(kept)


def _pairs(detections: Sequence[Detection3D], fraction: float) -> tuple[Bool, Bool]:
    """Which pairs (N, N) are one object by their distance alone, and which may be one, these included."""
    boxes = np.array([(*d.center[:2], *d.size[:2]) for d in detections])
    centers, lengths, widths = boxes[:, :2], boxes[:, 2], boxes[:, 3]
    groups = np.unique([group_of(d.class_name) for d in detections], return_inverse=True)[1]
    distances = np.linalg.norm(centers[:, None] - centers, axis=-1)
    is_of_one_group = groups[:, None] == groups
    are_near = is_of_one_group & (distances < fraction * np.minimum(widths[:, None], widths))
    may_share = is_of_one_group & (distances <= np.maximum(lengths[:, None], lengths))
    return are_near, are_near | may_share


def _share(a: Detection3D, b: Detection3D) -> bool:
    common = len(np.intersect1d(a.point_indices, b.point_indices, assume_unique=True))
    return common > SHARED * min(a.point_count, b.point_count)


def _united(named: Detection3D, other: Detection3D) -> Detection3D:
    shaped = max(named, other, key=lambda detection: detection.point_count)
    return replace(
        shaped,
        class_id=named.class_id,
        class_name=named.class_name,
        score=named.score,
        cameras=tuple(dict.fromkeys(named.cameras + other.cameras)),
    )
