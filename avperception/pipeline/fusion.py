"""2D boxes and lidar points become 3D boxes."""

from __future__ import annotations

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
from avperception.pipeline.sizes import ObjectSize, size_of
from avperception.types import CameraModel, CameraResult, Detection3D, Float32, Float64, LidarResult

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
class CameraView:
    """One camera's result with its calibration and its place at that moment."""

    result: CameraResult
    camera: CameraModel
    T_camera_target: Float64


@dataclass(frozen=True)
class _VisiblePoints:
    """What one camera sees of the obstacles: rows of the sweep, pixels (N, 2), distances and depths (N,) [m].

    `hidden` are the rows of those that are outside of its image.
    """

    rows: NDArray[np.int64]
    pixels: Float32
    distances: Float32
    depths: Float32
    hidden: NDArray[np.int64]


def fuse(lidar: LidarResult, views: list[CameraView], settings: FusionSettings) -> tuple[Detection3D, ...]:
    """Lift the 2D detections of all cameras into the target frame of the sweep.

    A detection without enough lidar points behind it gives no box. Sorted by falling score.
    """
    obstacles = np.flatnonzero(~lidar.is_ground)
    lifted: list[Detection3D] = []
    for view in views:
        lifted.extend(_lift_view(lidar, view, _visible(lidar, obstacles, view), settings))
    lifted.sort(key=lambda detection: -detection.score)
    return _merge(lifted, settings.merge_fraction)


def _visible(lidar: LidarResult, obstacles: NDArray[np.int64], view: CameraView) -> _VisiblePoints:
    model = view.camera
    points_camera = cpu.transform_points(lidar.points[obstacles], view.T_camera_target)
    pixels, visible = cpu.project_points(
        points_camera, model.K, model.D, model.distortion_model, model.width, model.height
    )
    # The centre of a pixel is at a whole number for K, half a pixel further for a box.
    seen = points_camera[visible]
    return _VisiblePoints(
        obstacles[visible],
        pixels + np.float32(0.5),
        np.linalg.norm(seen, axis=1),
        seen[:, 2],
        np.delete(obstacles, visible),
    )


def _lift_view(
    lidar: LidarResult, view: CameraView, points: _VisiblePoints, settings: FusionSettings
) -> list[Detection3D]:
    detections = view.result.detections
    sensor = lidar.T_target_lidar[:3, 3]
    found = []
    found_2d = zip(
        detections.boxes,
        detections.scores,
        detections.class_ids,
        _sights(detections.boxes, view),
        strict=True,
    )
    for box, score, class_id, sight in found_2d:
        class_name = detections.class_names[class_id]
        typical = size_of(class_name)
        rows = _object_rows(lidar, points, box, typical, view, settings)
        if len(rows) < settings.min_points:
            continue
        if typical is not None and _is_cut(box, view.camera):
            rows = _beyond_image(lidar, points.hidden, rows, typical, settings)
        ground = float(np.median(lidar.ground_height[rows]))
        fitted = fit_box(lidar.points[rows].astype(np.float64), ground, sensor, typical, sight)
        found.append(
            Detection3D(
                class_id=int(class_id),
                class_name=class_name,
                score=float(score),
                center=fitted.center,
                size=fitted.size,
                yaw=fitted.yaw,
                covariance=fitted.covariance,
                cameras=(view.result.camera,),
                point_indices=rows,
            )
        )
    return found


def _object_rows(
    lidar: LidarResult,
    points: _VisiblePoints,
    box: NDArray[np.float32],
    typical: ObjectSize | None,
    view: CameraView,
    settings: FusionSettings,
) -> NDArray[np.int64]:
    """Rows of the sweep that are the object in a 2D box: inside of it, linked, and filling it best."""
    inside = np.flatnonzero(((points.pixels >= box[:2]) & (points.pixels <= box[2:])).all(axis=1))
    if len(inside) < settings.min_points:
        return np.zeros(0, dtype=np.int64)
    distances = points.distances[inside]
    reach = settings.cluster_reach + settings.cluster_reach_per_metre * float(np.quantile(distances, 0.2))
    positions = lidar.points[points.rows[inside]]
    longest = typical.longest if typical else np.inf
    groups = candidates(positions, reach, longest, settings.min_points)
    scores = fill_scores(groups, points.pixels[inside], box)
    if typical is not None:
        for i, rows in enumerate(groups):
            scores[i] *= _likeness(positions[rows], points.depths[inside[rows]], box, typical, view)
    chosen = object_cluster(groups, scores, distances)
    return points.rows[inside[chosen]]


def _is_cut(box: NDArray[np.float32], model: CameraModel) -> bool:
    low, high = box[:2] < EDGE, box[2:] > np.array([model.width, model.height]) - EDGE
    return bool(low.any() or high.any())


def _beyond_image(
    lidar: LidarResult,
    hidden: NDArray[np.int64],
    rows: NDArray[np.int64],
    typical: ObjectSize,
    settings: FusionSettings,
) -> NDArray[np.int64]:
    """Follow an object that the image's edge cuts off into the points that the camera does not see.

    Linked points join as long as all together are not longer than the class can be.
    """
    middle = np.median(lidar.points[rows], axis=0)
    offset = lidar.points[hidden, :2] - middle[:2]
    around = np.concatenate([rows, hidden[np.einsum("ij,ij->i", offset, offset) < typical.longest**2]])
    distance = float(np.linalg.norm(middle - lidar.T_target_lidar[:3, 3]))
    reach = settings.cluster_reach + settings.cluster_reach_per_metre * distance
    for _ in range(SPLITS):
        groups = clusters(lidar.points[around], reach)
        own = max(groups, key=lambda group: np.count_nonzero(group < len(rows)))
        if length_of(lidar.points[around[own]]) <= typical.longest:
            return np.union1d(rows, around[own])
        reach *= 0.6
    return rows


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
