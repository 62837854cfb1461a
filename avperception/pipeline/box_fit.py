"""A metric box from the few points that one side of an object gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avperception.pipeline.sizes import ObjectSize
from avperception.types import Float64

MAX_POINTS = 400
"""Points that take part in the search for the heading; more would not sharpen it."""

RANGE_SIGMA = 0.05
"""What a lidar's distances and a vehicle's calibration leave uncertain at best [m]."""


@dataclass(frozen=True)
class FittedBox:
    """A box in the target frame; `covariance` (6, 6) over x y z roll pitch yaw."""

    center: Float64
    size: Float64
    yaw: float
    covariance: Float64


def fit_box(points: Float64, ground: float, sensor: Float64, typical: ObjectSize | None) -> FittedBox:
    """Fit a box to an object's points (N, 3) in the target frame, z up.

    The heading is the one under which the points lie closest to two edges of a rectangle (the closeness
    criterion of Zhang et al., IV 2017). The sides that face the `sensor` (3,) stay where the points
    are; away from it the box is filled up to the typical size, for those sides are not seen. It stands
    on the `ground` [m]. Without a typical size the box is what was seen. The covariance holds the
    distance noise and, along each axis, the part that was not seen, taken as uniform.
    """
    xy = points[:, :2] - sensor[:2]
    yaw = _toward(xy) if typical is None or typical.compact else _heading(xy)
    low, high = _extent(xy, yaw)
    seen = high - low
    if typical is not None and not typical.compact and _is_sideways(seen, typical):
        yaw += np.pi / 2
        low, high = _extent(xy, yaw)
        seen = high - low
    size = seen if typical is None else _complete(seen, typical)
    centre_local = _grow(low, high, size)
    rotation = _rotation(yaw)
    top = float(np.quantile(points[:, 2], 0.98))
    height = max(top - ground, 0.2)
    centre_xy = rotation @ centre_local + sensor[:2]
    yaw = float((yaw + np.pi / 2) % np.pi - np.pi / 2)
    return FittedBox(
        center=np.array([*centre_xy, ground + height / 2]),
        size=np.array([*np.maximum(size, 0.1), height]),
        yaw=yaw,
        covariance=_covariance(seen, size, rotation, len(points), compact=typical is None or typical.compact),
    )


def _rotation(yaw: float) -> Float64:
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([[cosine, -sine], [sine, cosine]])


def _toward(xy: Float64) -> float:
    """Heading along the line of sight: for objects whose own heading the points do not tell."""
    x, y = np.median(xy, axis=0)
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
    return float(yaws[np.argmax(np.sum(1.0 / np.maximum(distance, 0.03), axis=1))])


def _edge_distance(coordinate: Float64) -> Float64:
    low = coordinate.min(axis=1, keepdims=True)
    high = coordinate.max(axis=1, keepdims=True)
    return np.minimum(coordinate - low, high - coordinate)


def _extent(xy: Float64, yaw: float) -> tuple[Float64, Float64]:
    local = xy @ _rotation(yaw)
    return local.min(axis=0), local.max(axis=0)


def _is_sideways(seen: Float64, typical: ObjectSize) -> bool:
    """Tell whether the box fits the class better with length and width exchanged."""

    def misfit(length: float, width: float) -> float:
        # Too long cannot be; too short is only not seen, and the less so the nearer it comes.
        over = max(0.0, length - typical.length * 1.1) + max(0.0, width - typical.width * 1.1)
        under = max(0.0, typical.length - length) + max(0.0, typical.width - width)
        return 3.0 * over + under

    if abs(seen[1] - seen[0]) > 0.3 and max(seen) > typical.width * 1.25:
        return bool(seen[1] > seen[0])
    return misfit(seen[1], seen[0]) < misfit(seen[0], seen[1])


def _complete(seen: Float64, typical: ObjectSize) -> Float64:
    known = np.array([typical.length, typical.width])
    if typical.compact:
        return known
    return np.clip(seen, known, known * typical.stretch)


def _grow(low: Float64, high: Float64, size: Float64) -> Float64:
    """Centre of a box of `size` whose sides nearer to the sensor, at the origin, are the seen ones.

    Where the sensor looks at a side squarely, both ends of it are seen or cut off alike: there the
    middle stays.
    """
    middle = (low + high) / 2
    away = np.where(low > 0, 1.0, np.where(high < 0, -1.0, 0.0))
    return np.asarray(middle + away * (size - (high - low)) / 2)


def _covariance(
    seen: Float64, size: Float64, rotation: Float64, count: int, compact: bool
) -> NDArray[np.float64]:
    unseen = np.maximum(size - seen, 0.0) / 2
    variances = RANGE_SIGMA**2 + unseen**2 / 3 + (size**2 / 12) / count
    covariance = np.zeros((6, 6))
    covariance[:2, :2] = rotation @ np.diag(variances) @ rotation.T
    covariance[2, 2] = RANGE_SIGMA**2 + 0.1**2
    covariance[3, 3] = covariance[4, 4] = np.radians(3.0) ** 2
    # A heading that was not measured is uniform over half a turn.
    elongation = max(float(np.max(seen)), 0.1)
    spread = np.arctan2(3 * RANGE_SIGMA, elongation) ** 2 + 1.0 / count
    covariance[5, 5] = np.pi**2 / 12 if compact else min(spread, np.pi**2 / 12)
    return covariance
