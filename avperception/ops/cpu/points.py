"""Lidar points: transforms, range and ground, on the host."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from avperception.types import Bool, Float32, Float64


def transform_points(points: NDArray[Any], T_target_source: Float64) -> Float32:
    """Map points (N, 3) by a 4x4 transform; the result is float32, the sum done in float32."""
    T = T_target_source.astype(np.float32)
    x, y, z = np.ascontiguousarray(points.T, dtype=np.float32)
    result = np.empty((len(x), 3), dtype=np.float32)
    for row in range(3):
        result[:, row] = x * T[row, 0] + y * T[row, 1] + z * T[row, 2] + T[row, 3]
    return result


def within_range(points_sensor: Float32, min_range: float, max_range: float) -> Bool:
    """Tell which points (N, 3) lie between two distances [m] from the sensor, as a mask (N,)."""
    squared = np.einsum("ij,ij->i", points_sensor, points_sensor)
    return (squared >= min_range**2) & (squared <= max_range**2)


def selected_rows(mask: Bool) -> NDArray[np.int64]:
    """List the rows that a mask (N,) selects, in order."""
    return np.flatnonzero(mask)


def take_rows(points: Float32, rows: NDArray[np.int64]) -> Float32:
    """Take these rows of points (N, 3)."""
    return points[rows]


SECTORS = 180
"""Sectors of the ground's polar grid around the sensor."""

RING_WIDTH = 1.0
"""Width of its rings [m]."""

SLOPE_RINGS = 12
"""Rings of the ground's polar grid over which its slope is averaged, and for which it goes on unseen."""


def rings_of(max_range: float) -> int:
    """Count the rings of the ground's polar grid; the last holds all that is beyond `max_range` [m]."""
    return int(np.ceil(max_range / RING_WIDTH)) + 1


def ground_height(
    points: Float32, sensor: Float64, max_range: float, max_slope: float, tolerance: float
) -> Float32:
    """Estimate the height of the ground below each point (N, 3), z up, as (N,).

    A polar grid around the `sensor` (3,) holds the lowest point of every cell; the median of them
    within 15 m is the height to start from. Going outward, a cell's lowest point is ground when the
    ground known so far, going on at its slope, reaches it with at most `max_slope` plus `tolerance` [m]
    of change; else the known ground goes on. A median over neighbouring sectors takes out cells that hold
    nothing but an object. (The idea of ring-wise slope limits: Himmelsbach et al., IV 2010.)
    """
    rings = rings_of(max_range)
    cell = _cells(points, sensor, rings)
    lowest_of_cell = np.full(SECTORS * rings, np.inf, dtype=np.float32)
    np.minimum.at(lowest_of_cell, cell, points[:, 2])
    lowest = lowest_of_cell.reshape(SECTORS, rings)
    near = lowest[:, : int(15 / RING_WIDTH)]
    near = near[np.isfinite(near)]
    start = float(np.median(near)) if len(near) else 0.0
    height = _spread_outward(lowest, start, max_slope * RING_WIDTH, tolerance)
    neighbours = np.stack([np.roll(height, shift, axis=0) for shift in (-2, -1, 0, 1, 2)])
    return np.asarray(np.median(neighbours, axis=0).ravel()[cell], dtype=np.float32)


def _cells(points: Float32, sensor: Float64, rings: int) -> NDArray[np.int32]:
    """Cell of each point in the polar grid, as sector * rings + ring."""
    x, y = (points[:, :2] - sensor[:2].astype(np.float32)).T
    # In double precision: float32's arctan2 differs from machine to machine in its last bits.
    angle = np.arctan2(y, x, dtype=np.float64)
    sector = ((angle / (2 * np.pi) + 0.5) * SECTORS).astype(np.int32) % SECTORS
    ring = (np.hypot(x, y) / np.float32(RING_WIDTH)).astype(np.int32)
    return np.asarray(sector * rings + np.minimum(ring, rings - 1), dtype=np.int32)


def _spread_outward(lowest: Float32, start: float, rise_per_ring: float, tolerance: float) -> Float32:
    """Follow the ground from the innermost ring (sectors, rings) out; `start` is its height at ring 0.

    Where it is not seen it goes on at the slope that it had over the last rings, for a while.
    """
    height = np.empty_like(lowest)
    known: Float32 = np.full(len(lowest), start, dtype=np.float32)
    slope: Float32 = np.zeros(len(lowest), dtype=np.float32)
    rings_since = np.zeros(len(lowest), dtype=np.float32)
    for ring in range(lowest.shape[1]):
        rings_since += 1
        expected = known + slope * np.minimum(rings_since, SLOPE_RINGS)
        # A long shadow behind an object must not let the next object's flank pass for a hill.
        reach = tolerance + rise_per_ring * np.minimum(rings_since, 5)
        is_ground = np.abs(lowest[:, ring] - expected) <= reach
        rise = np.where(is_ground, (lowest[:, ring] - known) / rings_since, slope)
        slope += (rise - slope) * np.minimum(rings_since / SLOPE_RINGS, 1)
        slope = np.clip(slope, -rise_per_ring, rise_per_ring)
        known = np.where(is_ground, lowest[:, ring], known)
        height[:, ring] = np.where(is_ground, known, expected)
        rings_since[is_ground] = 0
    return height
