"""The objects behind 2D boxes: which points they are, and the boxes that these fill on the road."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from avperception.ops import cpu
from avperception.ops.queries import EDGE, QUERY, Queries, are_cut
from avperception.pipeline.box_fit import FittedBox, Sight, fit_box, middle
from avperception.pipeline.sizes import ObjectSize, size_of
from avperception.pipeline.views import (
    CameraView,
    HostViewPoints,
    PointLists,
    Surroundings,
    parts,
)
from avperception.types import Bool, Float32, Float64

Rows = NDArray[np.int64]


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
class BoxQuestion:
    """A 2D box, the detection at `index` of the camera at `view`, and what is known before any point is."""

    view: int
    index: int
    typical: ObjectSize | None
    sight: Sight


@dataclass(frozen=True)
class FoundObject:
    """An object: its points' `rows` (N,) of the sweep, rising, and the box fitted to them."""

    rows: Rows
    fitted: FittedBox


def questions(views: Sequence[CameraView], settings: FusionSettings) -> tuple[list[BoxQuestion], Queries]:
    """Ask for all detections of some cameras, one camera after the other; give the same packed (B,)."""
    of_view = [_questions(place, view) for place, view in enumerate(views)]
    packed = [_packed(asked, view, settings) for asked, view in zip(of_view, views, strict=True)]
    return [question for asked in of_view for question in asked], np.concatenate(
        [np.zeros(0, QUERY), *packed]
    )


def find_objects(
    points: HostViewPoints, asked: Sequence[BoxQuestion], queries: Queries, sensor: Float64
) -> list[FoundObject | None]:
    """Find the object behind each 2D box, None where there are not points enough.

    `sensor` (3,) is the lidar's place in the target frame.
    """
    boxes = points.in_boxes()
    is_object = cpu.object_points(
        boxes.positions, boxes.pixels, boxes.depths, boxes.distances, boxes.offsets, queries
    )
    objects = _kept(boxes, is_object)
    objects = _beyond_images(objects, points, asked, queries, sensor)
    return [
        _fitted(objects, part, question, sensor) if part.stop > part.start else None
        for part, question in zip(parts(objects.offsets), asked, strict=True)
    ]


def _fitted(objects: PointLists, part: slice, question: BoxQuestion, sensor: Float64) -> FoundObject:
    positions = objects.positions[part].astype(np.float64)
    ground = float(middle(objects.ground[part]))
    fitted = fit_box(positions, ground, sensor, question.typical, question.sight)
    return FoundObject(objects.rows[part], fitted)


def _kept(points: PointLists, is_kept: Bool) -> PointLists:
    """Leave some points out of lists."""
    before = np.concatenate([[0], np.cumsum(is_kept)])
    offsets = before[points.offsets].astype(np.int32)
    return PointLists(points.rows[is_kept], points.positions[is_kept], points.ground[is_kept], offsets)


def _beyond_images(
    objects: PointLists,
    points: HostViewPoints,
    asked: Sequence[BoxQuestion],
    queries: Queries,
    sensor: Float64,
) -> PointLists:
    """Follow the objects that an image's edge cuts off into the points that the camera does not see."""
    has_points = np.diff(objects.offsets) > 0
    cut = np.flatnonzero(are_cut(queries) & has_points & np.isfinite(queries["longest"]))
    if not len(cut):
        return objects
    own_parts = parts(objects.offsets)
    middles = np.stack([middle(objects.positions[own_parts[box]]) for box in cut])
    hidden = points.hidden_around(
        [
            Surroundings(asked[box].view, place[:2], float(queries["longest"][box]))
            for box, place in zip(cut, middles, strict=True)
        ]
    )
    both, is_own = _interleaved(objects, cut, hidden)
    distances = np.linalg.norm(middles - sensor, axis=1)
    reach = queries["reach"][cut] + queries["reach_per_metre"][cut] * distances.astype(np.float32)
    is_joined = cpu.joined_points(both.positions, is_own, both.offsets, reach, queries["longest"][cut])
    return _replaced(objects, cut, _kept(both, is_joined))


def _interleaved(objects: PointLists, cut: Rows, hidden: PointLists) -> tuple[PointLists, Bool]:
    """Put the points of some objects and those hidden beside each into one list a pair, and tell whose."""
    own_parts, hidden_parts = parts(objects.offsets), parts(hidden.offsets)
    pieces = [
        piece
        for box, beside in zip(cut, hidden_parts, strict=True)
        for piece in ((objects, own_parts[box]), (hidden, beside))
    ]
    joined = _concatenated(pieces)
    offsets = joined.offsets[::2]
    is_own = cpu.owner_of_points(joined.offsets) % 2 == 0
    return PointLists(joined.rows, joined.positions, joined.ground, offsets), is_own


def _replaced(objects: PointLists, places: Rows, others: PointLists) -> PointLists:
    """Put other lists, their points in the order of their rows, at some places."""
    other_of = dict(zip(places.tolist(), parts(others.offsets), strict=True))
    order = np.lexsort((others.rows, cpu.owner_of_points(others.offsets)))
    others = PointLists(others.rows[order], others.positions[order], others.ground[order], others.offsets)
    return _concatenated(
        [
            (others, other_of[box]) if box in other_of else (objects, part)
            for box, part in enumerate(parts(objects.offsets))
        ]
    )


def _concatenated(pieces: Sequence[tuple[PointLists, slice]]) -> PointLists:
    return PointLists(
        np.concatenate([lists.rows[part] for lists, part in pieces]),
        np.concatenate([lists.positions[part] for lists, part in pieces]),
        np.concatenate([lists.ground[part] for lists, part in pieces]),
        np.cumsum([0, *(part.stop - part.start for _, part in pieces)], dtype=np.int32),
    )


def _questions(place: int, view: CameraView) -> list[BoxQuestion]:
    detections = view.result.detections
    sights = _sights(detections.boxes, view)
    names = [detections.class_names[class_id] for class_id in detections.class_ids]
    return [
        BoxQuestion(place, index, size_of(name), sight)
        for index, (name, sight) in enumerate(zip(names, sights, strict=True))
    ]


def _packed(asked: Sequence[BoxQuestion], view: CameraView, settings: FusionSettings) -> Queries:
    """Pack the questions (B,) of one camera by columns: box by box takes longer than a GPU's fusion."""
    queries = np.zeros(len(asked), QUERY)
    if not asked:
        return queries
    queries["box"] = view.result.detections.boxes
    queries["image_size"] = view.camera.width, view.camera.height
    queries["focal"] = view.camera.K[1, 1]
    queries["reach"] = settings.cluster_reach
    queries["reach_per_metre"] = settings.cluster_reach_per_metre
    queries["min_points"] = settings.min_points
    queries["size"], queries["largest"], queries["longest"], queries["is_compact"] = zip(
        *(_limits(question.typical) for question in asked), strict=True
    )
    queries["origin"] = [question.sight.origin for question in asked]
    for side in ("left", "right"):
        bearings = [getattr(question.sight, side) for question in asked]
        queries[side] = [np.nan if bearing is None else bearing for bearing in bearings]
    return queries


@cache
def _limits(typical: ObjectSize | None) -> tuple[tuple[float, ...], tuple[float, ...], float, bool]:
    """Typical size, greatest length and width, and diagonal of a class; whether it is compact."""
    if typical is None:
        return (0.0, 0.0, 0.0), (0.0, 0.0), np.inf, True
    size = typical.length, typical.width, typical.height
    return size, tuple(typical.largest.tolist()), typical.longest, typical.compact


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
