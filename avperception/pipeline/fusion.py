"""2D boxes and lidar points become 3D boxes."""

from __future__ import annotations

from collections.abc import Sequence

from avperception.pipeline.device.cuda_lidar import CudaLidarResult
from avperception.pipeline.duplicates import merge_duplicates
from avperception.pipeline.objects import (
    BoxQuestion,
    FoundObject,
    FusionSettings,
    find_objects,
    questions,
)
from avperception.pipeline.views import CameraView, HostViewPoints
from avperception.types import Detection3D, LidarResult

__all__ = ["CameraView", "FusionSettings", "fuse"]


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
    return merge_duplicates(lifted, settings.merge_fraction)


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
