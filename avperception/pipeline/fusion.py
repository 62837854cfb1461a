"""2D boxes and lidar points become 3D boxes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from avperception.ops import cpu
from avperception.pipeline.box_fit import Sight, fit_box
from avperception.pipeline.clusters import candidates, fill_scores, length_of, object_cluster
from avperception.pipeline.sizes import ObjectSize, size_of
from avperception.types import CameraModel, CameraResult, Detection3D, Float32, Float64, LidarResult

HEIGHT_SPREAD = 0.35
"""Spread of the logarithm of the heights within a class, from children to adults, saloons to vans."""

EDGE = 3.0
"""A 2D box this near to the edge of the image is cut off by it [pixels]."""


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
    """The obstacle points that one camera sees: rows of the sweep, pixels (N, 2), distances and depths (N,) [m]."""

    rows: NDArray[np.int64]
    pixels: Float32
    distances: Float32
    depths: Float32


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
        obstacles[visible], pixels + np.float32(0.5), np.linalg.norm(seen, axis=1), seen[:, 2]
    )


def _lift_view(
    lidar: LidarResult, view: CameraView, points: _VisiblePoints, settings: FusionSettings
) -> list[Detection3D]:
    detections = view.result.detections
    sensor = lidar.T_target_lidar[:3, 3]
    found = []
    for box, score, class_id in zip(detections.boxes, detections.scores, detections.class_ids, strict=True):
        class_name = detections.class_names[class_id]
        typical = size_of(class_name)
        rows = _object_rows(lidar, points, box, typical, view, settings)
        if len(rows) < settings.min_points:
            continue
        ground = float(np.median(lidar.ground_height[rows]))
        fitted = fit_box(
            lidar.points[rows].astype(np.float64), ground, sensor, typical, _sight(box, view)
        )
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
    longest = typical.diagonal * typical.stretch if typical else np.inf
    groups = candidates(positions, reach, longest, settings.min_points)
    scores = fill_scores(groups, points.pixels[inside], box)
    if typical is not None:
        for i, rows in enumerate(groups):
            scores[i] *= _likeness(positions[rows], points.depths[inside[rows]], box, typical, view)
    chosen = object_cluster(groups, scores, distances)
    return points.rows[inside[chosen]]


def _sight(box: NDArray[np.float32], view: CameraView) -> Sight:
    """Where the sides of a 2D box point to on the ground, in the target frame."""
    model = view.camera
    middle = (box[1] + box[3]) / 2
    edges = np.array([[box[0], middle], [box[2], middle]]) - 0.5
    rays = np.ones((2, 3))
    rays[:, :2] = cpu.undistort(edges, model.K, model.D, model.distortion_model)
    rotation = view.T_camera_target[:3, :3]
    ahead = rays @ rotation
    left, right = (float(bearing) for bearing in np.arctan2(ahead[:, 1], ahead[:, 0]))
    return Sight(
        origin=-(rotation.T @ view.T_camera_target[:3, 3])[:2],
        left=None if box[0] < EDGE else left,
        right=None if box[2] > model.width - EDGE else right,
    )


def _likeness(
    positions: Float32, depths: Float32, box: NDArray[np.float32], typical: ObjectSize, view: CameraView
) -> float:
    """How well a group's size, and the height that the 2D box has at its depth, agree with the class, 0 to 1."""
    longest = typical.diagonal * typical.stretch
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
    return distance < fraction * min(a.size[1], b.size[1])


def group_of(class_name: str) -> str:
    """Name the group of classes of which only one can stand in one place; a class unknown is its own."""
    size = size_of(class_name)
    return size.group if size else class_name
