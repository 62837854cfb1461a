"""2D boxes and lidar points become 3D boxes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from avperception.ops import cpu
from avperception.pipeline.box_fit import Sight, fit_box
from avperception.pipeline.clusters import (
    SPLITS,
    candidates,
    clusters,
    fill_scores,
    length_of,
    object_cluster,
)
from avperception.pipeline.device.cuda_lidar import CudaLidarResult
from avperception.pipeline.sizes import ObjectSize, size_of
from avperception.pipeline.views import (
    BoxPoints,
    CameraView,
    HostViewPoints,
    PointSet,
    Surroundings,
    ViewPoints,
)
from avperception.types import CameraModel, Detection3D, Float32, Float64, LidarResult

__all__ = ["CameraView", "FusionSettings", "fuse", "group_of"]

HEIGHT_SPREAD = 0.35
"""Spread of the logarithm of the heights within a class, from children to adults, saloons to vans."""

EDGE = 3.0
"""A 2D box this near to the edge of the image is cut off by it [pixels]."""

SHARED = 0.5
"""Boxes with more than this part of the points of the smaller in common are one object."""


@dataclass
class FusionSettings:
    """Limits that may change while fusion runs.

    `min_points` must support a box. Neighbouring points of one object are at most `cluster_reach` [m]
    apart, plus `cluster_reach_per_metre` of distance, for the beams part. Two boxes of one group of
    classes are one object when their centres are nearer than `merge_fraction` of the smaller width.
    """

    min_points: int = 5
    cluster_reach: float = 0.4
    cluster_reach_per_metre: float = 0.012
    merge_fraction: float = 0.8


@dataclass(frozen=True)
class _Found:
    """The `points` behind a 2D `box` of the camera at `view` that are the object."""

    view: int
    box: NDArray[np.float32]
    score: float
    class_id: int
    class_name: str
    camera: str
    sight: Sight
    points: PointSet
    is_cut: bool

    @property
    def typical(self) -> ObjectSize | None:
        return size_of(self.class_name)


def fuse(lidar: LidarResult, views: list[CameraView], settings: FusionSettings) -> tuple[Detection3D, ...]:
    """Lift the 2D detections of all cameras into the target frame of the sweep.

    A detection without enough lidar points behind it gives no box. Sorted by falling score. Of a sweep on
    a GPU only the points behind the detections come to the host; raises EngineError when that fails.
    """
    sensor = lidar.T_target_lidar[:3, 3]
    with _view_points(lidar, views) as points:
        found = [
            thing
            for place, (view, boxes) in enumerate(zip(views, points.in_boxes(), strict=True))
            for thing in _objects(place, view, boxes, settings)
        ]
        found = _beyond_images(found, points, sensor, settings)
    lifted = [_lift(thing, sensor) for thing in found]
    lifted.sort(key=lambda detection: -detection.score)
    return _merge(lifted, settings.merge_fraction)


def _view_points(lidar: LidarResult, views: list[CameraView]) -> AbstractContextManager[ViewPoints]:
    if isinstance(lidar, CudaLidarResult):
        return lidar.view_points(views)
    return nullcontext(HostViewPoints(lidar, views))


def _objects(
    place: int, view: CameraView, boxes: list[BoxPoints], settings: FusionSettings
) -> Iterator[_Found]:
    """Find the object behind each 2D box of a camera, where there are points enough."""
    detections = view.result.detections
    sights = _sights(detections.boxes, view)
    for i, points in enumerate(boxes):
        box = detections.boxes[i]
        class_name = detections.class_names[detections.class_ids[i]]
        chosen = _object_places(points, box, size_of(class_name), view, settings)
        if len(chosen) < settings.min_points:
            continue
        yield _Found(
            view=place,
            box=box,
            score=float(detections.scores[i]),
            class_id=int(detections.class_ids[i]),
            class_name=class_name,
            camera=view.result.camera,
            sight=sights[i],
            points=points.take(chosen),
            is_cut=_is_cut(box, view.camera),
        )


def _lift(thing: _Found, sensor: Float64) -> Detection3D:
    points = thing.points
    ground = float(np.median(points.ground))
    fitted = fit_box(points.positions.astype(np.float64), ground, sensor, thing.typical, thing.sight)
    return Detection3D(
        class_id=thing.class_id,
        class_name=thing.class_name,
        score=thing.score,
        center=fitted.center,
        size=fitted.size,
        yaw=fitted.yaw,
        covariance=fitted.covariance,
        cameras=(thing.camera,),
        point_indices=points.rows,
    )


def _object_places(
    points: BoxPoints,
    box: NDArray[np.float32],
    typical: ObjectSize | None,
    view: CameraView,
    settings: FusionSettings,
) -> NDArray[np.int64]:
    """Which of the points in a 2D box are the object: linked, and filling the box best."""
    if len(points) < settings.min_points:
        return np.zeros(0, dtype=np.int64)
    distances = points.distances
    reach = settings.cluster_reach + settings.cluster_reach_per_metre * float(np.quantile(distances, 0.2))
    longest = typical.longest if typical else np.inf
    groups = candidates(points.positions, reach, longest, settings.min_points)
    scores = fill_scores(groups, points.pixels, box)
    if typical is not None:
        for i, rows in enumerate(groups):
            scores[i] *= _likeness(points.positions[rows], points.depths[rows], box, typical, view)
    return object_cluster(groups, scores, distances)


def _is_cut(box: NDArray[np.float32], model: CameraModel) -> bool:
    low, high = box[:2] < EDGE, box[2:] > np.array([model.width, model.height]) - EDGE
    return bool(low.any() or high.any())


def _beyond_images(
    found: list[_Found], points: ViewPoints, sensor: Float64, settings: FusionSettings
) -> list[_Found]:
    """Follow the objects that an image's edge cuts off into the points that the camera does not see."""
    found = list(found)
    cut = [
        (i, thing, typical) for i, thing in enumerate(found) if thing.is_cut and (typical := thing.typical)
    ]
    middles = [np.median(thing.points.positions, axis=0) for _, thing, _ in cut]
    asked = [
        Surroundings(thing.view, middle[:2], typical.longest)
        for (_, thing, typical), middle in zip(cut, middles, strict=True)
    ]
    hidden = points.hidden_around(asked) if asked else []
    for (i, thing, typical), middle, beside in zip(cut, middles, hidden, strict=True):
        distance = float(np.linalg.norm(middle - sensor))
        reach = settings.cluster_reach + settings.cluster_reach_per_metre * distance
        found[i] = replace(thing, points=_beyond_image(thing.points, beside, typical, reach))
    return found


def _beyond_image(own: PointSet, hidden: PointSet, typical: ObjectSize, reach: float) -> PointSet:
    """Let the hidden points linked with an object's own join it, unless it is then too long for its class."""
    both = PointSet(
        np.concatenate([own.rows, hidden.rows]),
        np.concatenate([own.positions, hidden.positions]),
        np.concatenate([own.ground, hidden.ground]),
    )
    for _ in range(SPLITS):
        groups = clusters(both.positions, reach)
        linked = max(groups, key=lambda group: np.count_nonzero(group < len(own)))
        if length_of(both.positions[linked]) <= typical.longest:
            joined = np.union1d(np.arange(len(own)), linked)
            return both.take(joined[np.argsort(both.rows[joined])])
        reach *= 0.6
    return own


def _sights(boxes: Float32, view: CameraView) -> list[Sight]:
    """Where the sides of 2D boxes (N, 4) point to on the ground, in the target frame."""
    model, rotation = view.camera, view.T_camera_target[:3, :3]
    origin = -(rotation.T @ view.T_camera_target[:3, 3])[:2]
    middle = (boxes[:, 1] + boxes[:, 3]) / 2
    edges = np.stack([boxes[:, [0, 2]].ravel(), np.repeat(middle, 2)], axis=1) - 0.5
    rays = np.ones((len(edges), 3))
    rays[:, :2] = cpu.undistort(edges, model.K, model.D, model.distortion_model)
    ahead = rays @ rotation
    bearings = np.arctan2(ahead[:, 1], ahead[:, 0]).reshape(-1, 2)
    return [
        Sight(
            origin=origin,
            left=None if box[0] < EDGE else float(left),
            right=None if box[2] > model.width - EDGE else float(right),
        )
        for box, (left, right) in zip(boxes, bearings, strict=True)
    ]


def _likeness(
    positions: Float32, depths: Float32, box: NDArray[np.float32], typical: ObjectSize, view: CameraView
) -> float:
    """How well a group's length, and the height of the 2D box at its depth, agree with the class, 0 to 1."""
    longest = typical.longest
    excess = max(0.0, length_of(positions) / longest - 1.0)
    height = float(box[3] - box[1]) * float(np.median(depths)) / view.camera.K[1, 1]
    ratio = np.log(max(height, 0.01) / typical.height)
    is_cut = box[1] < EDGE or box[3] > view.camera.height - EDGE
    if is_cut and ratio < 0:
        ratio = 0.0
    return float(np.exp(-(excess**2) / 0.5 - 0.5 * (ratio / HEIGHT_SPREAD) ** 2))


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
