"""2D boxes and lidar points become 3D boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from avperception.pipeline.device.cuda_lidar import CudaLidarResult
from avperception.pipeline.objects import (
    BoxQuestion,
    FoundObject,
    FusionSettings,
    find_objects,
    questions,
)
from avperception.pipeline.sizes import size_of
from avperception.pipeline.views import CameraView, HostViewPoints
from avperception.types import Detection3D, LidarResult

__all__ = ["CameraView", "FusionSettings", "fuse", "group_of"]

SHARED = 0.5
"""Boxes with more than this part of the points of the smaller in common are one object."""


def fuse(
    lidar: LidarResult, views: Sequence[CameraView], settings: FusionSettings
) -> tuple[Detection3D, ...]:
    """Lift the 2D detections of all cameras into the target frame of the sweep.

    A detection without enough lidar points behind it gives no box. Sorted by falling score. Of a sweep on
    a GPU only the objects come to the host; raises EngineError when that fails.
    """
    asked, queries = questions(views, settings)
    if not asked:
        return ()
    if isinstance(lidar, CudaLidarResult):
        found = lidar.find_objects(views, asked, queries)
    else:
        found = find_objects(HostViewPoints(lidar, views), asked, queries, lidar.T_target_lidar[:3, 3])
    lifted = [
        _detection(views[question.view], question, thing)
        for question, thing in zip(asked, found, strict=True)
        if thing is not None
    ]
    lifted.sort(key=lambda detection: -detection.score)
    return _merge(lifted, settings.merge_fraction)


def _detection(view: CameraView, question: BoxQuestion, thing: FoundObject) -> Detection3D:
    detections, index = view.result.detections, question.index
    class_id, fitted = int(detections.class_ids[index]), thing.fitted
    return Detection3D(
        class_id=class_id,
        class_name=detections.class_names[class_id],
        score=float(detections.scores[index]),
        center=fitted.center,
        size=fitted.size,
        yaw=fitted.yaw,
        covariance=fitted.covariance,
        cameras=(view.result.camera,),
        point_indices=thing.rows,
    )


def _merge(detections: list[Detection3D], fraction: float) -> tuple[Detection3D, ...]:
    """Unite boxes of one object, seen by two cameras or as two classes; the higher score names it.

    Of the two geometries the one with more points behind it stays.
    """
    kept: list[Detection3D] = []
    for detection in detections:
        twin = next((i for i, other in enumerate(kept) if _is_same(detection, other, fraction)), None)
        if twin is None:
            kept.append(detection)
            continue
        named = kept[twin]
        shaped = max(named, detection, key=lambda d: d.point_count)
        kept[twin] = replace(
            shaped,
            class_id=named.class_id,
            class_name=named.class_name,
            score=named.score,
            cameras=tuple(dict.fromkeys(named.cameras + detection.cameras)),
        )
    return tuple(kept)


def _is_same(a: Detection3D, b: Detection3D, fraction: float) -> bool:
    if group_of(a.class_name) != group_of(b.class_name):
        return False
    distance = float(np.linalg.norm(a.center[:2] - b.center[:2]))
    if distance < fraction * min(a.size[1], b.size[1]):
        return True
    if distance > max(a.size[0], b.size[0]):
        return False
    common = len(np.intersect1d(a.point_indices, b.point_indices, assume_unique=True))
    return common > SHARED * min(a.point_count, b.point_count)


def group_of(class_name: str) -> str:
    """Name the group of classes of which only one can stand in one place; a class unknown is its own."""
    size = size_of(class_name)
    return size.group if size else class_name
