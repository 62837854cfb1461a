"""What lies on the ground about the ego vehicle, as polygons in the world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avperception.scenes.render.outlines import WorldPolygons
from avperception.scenes.road import KERB_HEIGHT, LaneLine, Road
from avperception.types import Float64

PAINT_RANGE = 75.0
"""Metres ahead within which lane lines are painted (and labelled)."""

_PAINT_BEHIND = 30.0  # m
_ROAD_BEHIND, _ROAD_RANGE = 30.0, 140.0  # m


@dataclass(frozen=True)
class GroundPlan:
    """What lies on the ground about the ego vehicle at one moment, for all cameras: polygons in the world.

    In the order of `polygons`: pavements and their kerbs, the road, the tunnel's floor where there is one,
    and the paint of each lane line (`line_counts` pieces each).
    """

    polygons: WorldPolygons
    has_pavement: bool
    has_tunnel: bool
    line_counts: tuple[int, ...]


def plan_ground(road: Road, s: float) -> GroundPlan:
    """Lay out the ground about `s` metres along the road."""
    along = np.concatenate([np.arange(-_ROAD_BEHIND, 60.0, 1.5), np.arange(60.0, _ROAD_RANGE, 5.0)]) + s
    along = np.clip(along, road.line.s0, road.line.s1)
    polygons = []
    if road.pavement:
        for side in (1.0, -1.0):
            kerb = side * road.half_road
            polygons.append(_strip(road, along, kerb, side * road.half_paved, KERB_HEIGHT, KERB_HEIGHT))
            polygons.append(_strip(road, along, kerb, kerb, 0.0, KERB_HEIGHT))
    polygons.append(_strip(road, along, -road.half_road, road.half_road, 0.0, 0.0))
    tunnel = road.tunnel
    if tunnel is not None:
        inside = np.clip(along, tunnel.s0, tunnel.s1)
        polygons.append(_strip(road, inside, -tunnel.half_width, tunnel.half_width, 0.0, 0.0))
    lines = [_painted(road, line, s) for line in road.lane_lines]
    for line in lines:
        polygons += list(line)
    counts = tuple(len(line) for line in lines)
    return GroundPlan(WorldPolygons.joined(polygons), road.pavement > 0, tunnel is not None, counts)


def _strip(road: Road, s: Float64, d0: float, d1: float, z0: float, z1: float) -> Float64:
    """A band (2 N, 3) along the road between `d0` at height `z0` and `d1` at `z1`."""
    near, far = _world(road, s, np.full_like(s, d0), z0), _world(road, s, np.full_like(s, d1), z1)
    return np.concatenate([near, far[::-1]])


def _painted(road: Road, line: LaneLine, s: float) -> Float64:
    """The pieces (N, 6, 3) of a lane line within PAINT_RANGE; a solid one is in pieces too."""
    period = line.dash + line.gap
    first, end = np.floor((s - _PAINT_BEHIND) / period), np.ceil((s + PAINT_RANGE) / period)
    along = period * np.arange(first, end)[:, None] + line.dash * np.array([0.0, 0.5, 1.0, 1.0, 0.5, 0.0])
    across = line.d + 0.5 * line.width * np.array([-1.0, -1, -1, 1, 1, 1])
    return _world(road, along, np.broadcast_to(across, along.shape), 0.0)


def _world(road: Road, s: Float64, d: Float64, z: float) -> Float64:
    x, y, _ = road.line.pose(s, d)
    return np.stack([x, y, np.full_like(x, z)], axis=-1)
