"""A metric box from the few points that one side of an object gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avperception.pipeline.sizes import ObjectSize
from avperception.types import Float64

MAX_POINTS = 400
"""Points that take part in the search for the heading; more would not sharpen it."""

STRAY_PERCENT = 2
"""So many of an object's points may lie above its top, rounded down."""

SQUARELY = 1e-6
"""A side that begins this near to the foot of the sensor's perpendicular on it is looked at squarely [m]."""

ALIKE = 1e-9
"""Measures that differ by this part are equal, and the first is taken: three points fit many headings."""

RANGE_SIGMA = 0.05
"""What a lidar's distances and a vehicle's calibration leave uncertain at best [m]."""


@dataclass(frozen=True)
class FittedBox:
    """A box in the target frame; `covariance` (6, 6) over x y z roll pitch yaw."""

    center: Float64
    size: Float64
    yaw: float
    covariance: Float64


@dataclass(frozen=True)
class Sight:
    """What a 2D box says on the ground: seen from `origin` (2,), the object lies between two bearings [rad].

    `left` is the larger bearing, `right` the smaller; None where the image's edge cuts the object off.
    """

    origin: Float64
    left: float | None
    right: float | None

    def misfit(self, corners: Float64) -> float:
        """Distance [m] by which corners (4, 2) of a box miss the two bearings, at their own range."""
        offset = corners - self.origin
        middle = offset.mean(axis=0)
        zero = np.arctan2(middle[1], middle[0])
        bearings = _wrapped(np.arctan2(offset[:, 1], offset[:, 0]) - zero)
        missed = 0.0
        if self.left is not None:
            missed += abs(float(bearings.max() - _wrapped(self.left - zero)))
        if self.right is not None:
            missed += abs(float(bearings.min() - _wrapped(self.right - zero)))
        return missed * float(np.hypot(*middle))


@dataclass(frozen=True)
class _Outline:
    """A rectangle on the ground: `centre` from the sensor, `size` and what of it was `seen`."""

    centre: Float64
    size: Float64
    seen: Float64
    yaw: float

    @property
    def corners(self) -> Float64:
        signs = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) / 2
        return np.asarray((signs * self.size) @ _rotation(self.yaw).T + self.centre)


def fit_box(
    points: Float64,
    ground: float,
    sensor: Float64,
    typical: ObjectSize | None,
    sight: Sight | None = None,
) -> FittedBox:
    """Fit a box to an object's points (N, 3) in the target frame, z up.

    The heading is the one under which the points lie closest to two edges of a rectangle (the closeness
    criterion of Zhang et al., IV 2017). The sides that face the `sensor` (3,) stay where the points
    are; away from it the box is filled up to the typical size, for those sides are not seen. Which side
    is the long one, the points and the `sight` of the camera decide. It stands on the `ground` [m].
    Without a typical size the box is what was seen. The covariance holds the distance noise and, along
    each axis, the part that was not seen, taken as uniform.
    """
    xy = points[:, :2] - sensor[:2]
    outline = _outline(xy, typical, sight and replace(sight, origin=sight.origin - sensor[:2]))
    top_place = len(points) - 1 - len(points) * STRAY_PERCENT // 100
    top = float(np.partition(points[:, 2], top_place)[top_place])
    height = max(top - ground, 0.2)
    yaw = float((outline.yaw + np.pi / 2) % np.pi - np.pi / 2)
    return FittedBox(
        center=np.array([*outline.centre + sensor[:2], ground + height / 2]),
        size=np.array([*np.maximum(outline.size, 0.1), height]),
        yaw=yaw,
        covariance=_covariance(outline, len(points), compact=typical is None or typical.compact),
    )


def _outline(xy: Float64, typical: ObjectSize | None, sight: Sight | None) -> _Outline:
    if typical is None or typical.compact:
        return _completed(xy, _toward(xy), typical)
    yaw = _heading(xy)
    ways = [_completed(xy, yaw + turn, typical) for turn in (0.0, np.pi / 2)]
    costs = [_misfit(way.seen, typical) + (sight.misfit(way.corners) if sight else 0.0) for way in ways]
    return ways[int(costs[1] < costs[0] * (1 - ALIKE))]


def _completed(xy: Float64, yaw: float, typical: ObjectSize | None) -> _Outline:
    low, high = _extent(xy, yaw)
    seen = high - low
    size = seen if typical is None else _complete(seen, typical)
    return _Outline(_rotation(yaw) @ _grow(low, high, size), size, seen, yaw)


def _wrapped(angle: Any) -> Any:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _rotation(yaw: float) -> Float64:
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([[cosine, -sine], [sine, cosine]])


def _toward(xy: Float64) -> float:
    """Heading along the line of sight: for objects whose own heading the points do not tell."""
    x, y = middle(xy)
    return float(np.arctan2(y, x))


def _heading(xy: Float64) -> float:
    step = -(-len(xy) // MAX_POINTS)
    xy = xy[::step]
    coarse = _closest(xy, np.radians(np.arange(0.0, 90.0, 3.0)))
    return _closest(xy, coarse + np.radians(np.arange(-3.0, 3.1, 0.5)))


def _closest(xy: Float64, yaws: Float64) -> float:
    """Give the yaw under which the summed closeness of the points to the nearer edges is largest."""
    along = np.outer(np.cos(yaws), xy[:, 0]) + np.outer(np.sin(yaws), xy[:, 1])
    across = np.outer(-np.sin(yaws), xy[:, 0]) + np.outer(np.cos(yaws), xy[:, 1])
    distance = np.minimum(_edge_distance(along), _edge_distance(across))
    sums = np.sum(1.0 / np.maximum(distance, 0.03), axis=1)
    return float(yaws[np.argmax(sums >= sums.max() * (1 - ALIKE))])


def _edge_distance(coordinate: Float64) -> Float64:
    low = coordinate.min(axis=1, keepdims=True)
    high = coordinate.max(axis=1, keepdims=True)
    return np.minimum(coordinate - low, high - coordinate)


def _extent(xy: Float64, yaw: float) -> tuple[Float64, Float64]:
    local = xy @ _rotation(yaw)
    return local.min(axis=0), local.max(axis=0)


def _misfit(seen: Float64, typical: ObjectSize) -> float:
    """Tell how badly the seen length and width (2,) fit the class [m]."""
    known = np.array([typical.length, typical.width])
    # Too long cannot be; too short is only not seen, and the less so the nearer it comes.
    over = np.maximum(seen - 1.1 * known, 0.0).sum()
    under = np.maximum(known - seen, 0.0).sum()
    return float(3.0 * over + under)


def _complete(seen: Float64, typical: ObjectSize) -> Float64:
    known = np.array([typical.length, typical.width])
    if typical.compact:
        return known
    return np.clip(seen, known, typical.largest)


def _grow(low: Float64, high: Float64, size: Float64) -> Float64:
    """Centre of a box of `size` whose sides nearer to the sensor, at the origin, are the seen ones.

    Where the sensor looks at a side squarely, both ends of it are seen or cut off alike: there the
    middle stays.
    """
    middle = (low + high) / 2
    away = np.where(low > SQUARELY, 1.0, np.where(high < -SQUARELY, -1.0, 0.0))
    return np.asarray(middle + away * (size - (high - low)) / 2)


def _covariance(outline: _Outline, count: int, compact: bool) -> Float64:
    size, seen, rotation = outline.size, outline.seen, _rotation(outline.yaw)
    unseen = np.maximum(size - seen, 0.0) / 2
    variances = RANGE_SIGMA**2 + unseen**2 / 3 + (size**2 / 12) / count
    # A heading that was not measured is uniform over half a turn.
    elongation = max(float(np.max(seen)), 0.1)
    spread = np.arctan2(3 * RANGE_SIGMA, elongation) ** 2 + 1.0 / count
    yaw_variance = np.pi**2 / 12 if compact else min(spread, np.pi**2 / 12)
    planar = rotation @ np.diag(variances) @ rotation.T
    return box_covariances(planar[None], np.array([yaw_variance]))[0]


def box_covariances(planar: Float64, yaw_variances: Float64) -> Float64:
    """Give covariances (B, 6, 6) of upright boxes, from those of x and y (B, 2, 2) and of yaw (B,)."""
    covariances = np.zeros((len(planar), 6, 6))
    covariances[:, :2, :2] = planar
    covariances[:, 2, 2] = RANGE_SIGMA**2 + 0.1**2
    covariances[:, 3, 3] = covariances[:, 4, 4] = np.radians(3.0) ** 2
    covariances[:, 5, 5] = yaw_variances
    return covariances


def middle(values: NDArray[Any]) -> NDArray[Any]:
    """Give the median of values (N,) or (N, K) along the first axis, of an even number the lower of two."""
    place = (len(values) - 1) // 2
    return np.asarray(np.partition(values, place, axis=0)[place])
