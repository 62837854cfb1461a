"""Casts the pulses of one turn at the solids about, the nearest solids first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from avperception.scenes.ranging.raycast import Hits, brightness, cast, meet_boxes
from avperception.scenes.ranging.windows import Window
from avperception.scenes.shapes.shape import Indices
from avperception.scenes.solid import Solid
from avperception.types import Float32, Float64, Int32

_AT_ONCE = 12  # windows; what stops a pulse in one group is not cast at the next


@dataclass
class Echoes:
    """First returns by column and beam, (columns, beams) each; a range is infinite where there is none."""

    range: Float32
    brightness: Float32
    track_id: Int32


@dataclass(frozen=True)
class Turn:
    """Where each column of pulses is fired: its `time` (columns,) s from the stamp, the lidar's `origins`
    (columns, 3) and the ego vehicle's `yaw` (columns,) in the world; `rays` (columns, beams, 3) are unit
    directions in base_link.
    """

    time: Float64
    origins: Float64
    yaw: Float64
    rays: Float32


@dataclass(frozen=True)
class _Batch:
    """Rays of several windows: the `pulse` (R,) = column * beams + beam, and the `place` (R,) of each ray's
    column in `columns` (C,), which lists the columns of every window; `solids` (C,) are the windows' solids.
    """

    pulse: Indices
    place: Indices
    columns: Indices
    solids: Indices


class _Targets:
    """The solids of a turn, their `state` (7, S): x y z yaw, velocity x y, yaw rate; their boxes (3, S)."""

    def __init__(self, solids: Sequence[Solid]) -> None:
        self.solids = solids
        self.state = np.array([(s.x, s.y, s.z, s.yaw, *s.velocity, s.yaw_rate) for s in solids]).T
        self.lower = np.stack([solid.shape.lower for solid in solids], axis=1)
        self.upper = np.stack([solid.shape.upper for solid in solids], axis=1)


def cast_solids(echoes: Echoes, turn: Turn, solids: Sequence[Solid], windows: Sequence[Window]) -> None:
    """Put into `echoes` what the solids return; `windows` are the nearest first."""
    if not windows:
        return
    targets = _Targets(solids)
    for first in range(0, len(windows), _AT_ONCE):
        batch = _collect(echoes, windows[first : first + _AT_ONCE])
        if len(batch.pulse):
            _cast_batch(echoes, turn, targets, batch)


def _collect(echoes: Echoes, windows: Sequence[Window]) -> _Batch:
    """The rays of the windows that nothing nearer has stopped."""
    count, beams = echoes.range.shape
    pulse, place, columns, solids, listed = [], [], [], [], 0
    for window in windows:
        for part in window.columns(count):
            row, line = np.nonzero(echoes.range[part, window.beams] > window.nearest)
            pulse.append((row + part.start) * beams + (line + window.beams.start))
            place.append(row + listed)
            columns.append(np.arange(part.start, part.stop))
            solids.append(np.full(part.stop - part.start, window.number))
            listed += part.stop - part.start
    return _Batch(*(np.concatenate(values) for values in (pulse, place, columns, solids)))


def _cast_batch(echoes: Echoes, turn: Turn, targets: _Targets, batch: _Batch) -> None:
    origins, directions = _rays_in_solids(turn, targets, batch)
    number = batch.solids[batch.place]
    lower, upper = targets.lower.take(number, axis=1), targets.upper.take(number, axis=1)
    rows, enters, cosine = meet_boxes(lower, upper, origins, directions)
    number, pulse = number[rows], batch.pulse[rows]
    firsts = np.flatnonzero(np.diff(number, prepend=-1)).tolist()
    for first, end in pairwise([*firsts, len(rows)]):
        solid, part = targets.solids[number[first]], slice(first, end)
        if solid.shape.is_box:
            echo = brightness(solid.shape.reflectivity[:1], cosine[part])
            hits = Hits(np.arange(end - first), enters[part], echo)
        else:
            ray = rows[part]
            hits = cast(solid.shape, origins.take(ray, axis=1), directions.take(ray, axis=1))
        _keep_nearest(echoes, hits, pulse[part][hits.rows], solid.track_id)


def _rays_in_solids(turn: Turn, targets: _Targets, batch: _Batch) -> tuple[Float32, Float32]:
    """Origins and directions (3, R) of a batch's rays in the frames of their solids."""
    origins, cosine, sine = _in_solids(turn, targets, batch)
    x, y, z = turn.rays.reshape(-1, 3).take(batch.pulse, axis=0).T
    c, s = cosine.take(batch.place), sine.take(batch.place)
    directions = np.empty((3, len(x)), np.float32)
    directions[0] = c * x - s * y
    directions[1] = s * x + c * y
    directions[2] = z
    return origins.take(batch.place, axis=1), directions


def _in_solids(turn: Turn, targets: _Targets, batch: _Batch) -> tuple[Float32, Float32, Float32]:
    """The lidar in its solid's frame at each column's time: origins (3, C), cosine, sine (C,) of the turn."""
    x, y, z, yaw, vx, vy, rate = targets.state.take(batch.solids, axis=1)
    time, eye = turn.time[batch.columns], turn.origins[batch.columns]
    yaw = yaw + rate * time
    dx, dy = eye[:, 0] - x - vx * time, eye[:, 1] - y - vy * time
    c, s = np.cos(yaw), np.sin(yaw)
    origins = np.stack([c * dx + s * dy, c * dy - s * dx, eye[:, 2] - z]).astype(np.float32)
    relative = turn.yaw[batch.columns] - yaw
    return origins, np.cos(relative).astype(np.float32), np.sin(relative).astype(np.float32)


def _keep_nearest(echoes: Echoes, hits: Hits, pulse: Indices, track_id: int) -> None:
    reach = echoes.range.reshape(-1)
    nearer = np.flatnonzero((hits.range > 0) & (hits.range < reach[pulse]))
    where = pulse[nearer]
    reach[where] = hits.range[nearer]
    echoes.brightness.reshape(-1)[where] = hits.brightness[nearer]
    echoes.track_id.reshape(-1)[where] = track_id
