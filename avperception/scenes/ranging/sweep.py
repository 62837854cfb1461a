"""One turn of the spinning lidar: every column of pulses at its own time, from its own place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from avperception.scenes.conditions import Condition
from avperception.scenes.motion import Motion
from avperception.scenes.ranging.caster import Echoes, Turn, cast_solids
from avperception.scenes.ranging.raycast import brightness
from avperception.scenes.ranging.road_map import RoadMap
from avperception.scenes.ranging.windows import windows
from avperception.scenes.rig import Lidar
from avperception.scenes.road import Road
from avperception.scenes.shapes.shape import Indices
from avperception.scenes.solid import Solid
from avperception.types import Float32, Float64, Int32

_PAINT, _ASPHALT, _STONE, _GRASS = (np.float32(value) for value in (0.75, 0.16, 0.26, 0.32))  # reflectivity
_WEAKEST = 0.05  # signal that is detected half of the time
_REFERENCE = np.float32(100.0)  # m at which a white surface, seen straight on, gives a signal of 1
_DROP_RANGE = 5.0  # m, mean range of returns from drops in the air
_DROP_BRIGHTNESS = 0.02
_MAX_INTENSITY = 255.0


@dataclass(frozen=True)
class Sweep:
    """The returns of one turn in the order of firing, in the lidar's frame at the stamp.

    (Or each in the lidar's frame at its own moment, if the lidar is not `compensated`.) `points_lidar`
    (N, 3) metres, `intensity` (N,) 0-255, `ring` (N,) the beam from the lowest up, `time` (N,) seconds from
    the stamp (negative before it), `track_id` (N,) of the actor that was hit, 0 for anything else.
    """

    points_lidar: Float32
    intensity: Float32
    ring: NDArray[np.uint16]
    time: Float32
    track_id: Int32


class SweepMaker:
    """Casts the rays of one lidar in one scene; a turn takes `period` seconds."""

    def __init__(self, lidar: Lidar, road: Road, ego: Motion, period: float) -> None:
        self._lidar, self._road, self._ego, self._period = lidar, road, ego, period
        self._map = RoadMap(road.line)
        part = (np.arange(lidar.columns) + 0.5) / lidar.columns - 0.5
        self._time = part * period
        azimuth = 2 * np.pi * part
        mount = lidar.T_base_lidar
        self._mount_yaw = float(np.arctan2(mount[1, 0], mount[0, 0]))
        self._azimuth = azimuth + self._mount_yaw  # in base_link
        self._height = float(mount[2, 3])
        flat, up = np.cos(lidar.elevations), np.sin(lidar.elevations)
        self._rays = _grid(azimuth, flat, up)
        self._rays_base = _grid(self._azimuth, flat, up)
        self._down = int((lidar.elevations < -self._height / lidar.max_range).sum())

    def sweep(
        self, solids: Sequence[Solid], t: float, condition: Condition, rng: np.random.Generator
    ) -> Sweep:
        """The turn whose middle is at `t` seconds; `solids` are placed as they are at `t`."""
        pose = self._ego.pose(self._road.line, t + self._time)
        c, s = np.cos(pose.yaw), np.sin(pose.yaw)
        mount = self._lidar.T_base_lidar[:2, 3]
        x, y = pose.x + c * mount[0] - s * mount[1], pose.y + s * mount[0] + c * mount[1]
        origins = np.stack([x, y, np.full_like(x, self._height)], axis=1)
        echoes = self._ground(origins, pose.yaw, condition)
        middle = self._lidar.columns // 2
        heading = float(pose.yaw[middle]) + self._mount_yaw
        speed = self._ego.v_s
        found = windows(solids, self._lidar, origins[middle], heading, speed, self._period)
        cast_solids(echoes, Turn(self._time, origins, pose.yaw, self._rays_base), solids, found)
        sweep, columns = self._received(echoes, condition, rng)
        if self._lidar.compensated:
            points = self._at_stamp(sweep.points_lidar, columns, origins, pose.yaw, t)
            sweep = replace(sweep, points_lidar=points)
        return sweep

    def _at_stamp(
        self, points: Float32, columns: Indices, origins: Float64, yaw: Float64, t: float
    ) -> Float32:
        """Points in the lidar's frame at `t`, from those in its frame when their column was fired."""
        stamp = self._ego.pose(self._road.line, t)
        mount = self._lidar.T_base_lidar[:2, 3]
        c, s = np.cos(stamp.yaw), np.sin(stamp.yaw)
        shift = origins[:, :2] - (
            stamp.x + c * mount[0] - s * mount[1],
            stamp.y + s * mount[0] + c * mount[1],
        )
        heading = stamp.yaw + self._mount_yaw
        c, s = np.cos(heading), np.sin(heading)
        x, y = c * shift[:, 0] + s * shift[:, 1], c * shift[:, 1] - s * shift[:, 0]
        c, s = (v.astype(np.float32)[columns] for v in (np.cos(yaw - stamp.yaw), np.sin(yaw - stamp.yaw)))
        moved = np.empty_like(points)
        moved[:, 0] = c * points[:, 0] - s * points[:, 1] + x.astype(np.float32)[columns]
        moved[:, 1] = s * points[:, 0] + c * points[:, 1] + y.astype(np.float32)[columns]
        moved[:, 2] = points[:, 2]
        return moved

    def _ground(self, origins: Float64, yaw: Float64, condition: Condition) -> Echoes:
        shape = (self._lidar.columns, len(self._lidar.elevations))
        echoes = Echoes(
            np.full(shape, np.inf, np.float32), np.zeros(shape, np.float32),
            np.zeros(shape, np.int32),
        )  # fmt: skip
        if not self._down:
            return echoes
        rays = self._rays_base[:, : self._down]
        level, kerb = self._height, self._road.verge_height
        reach = (-level / rays[..., 2]).astype(np.float32)
        c, s = (v.astype(np.float32)[:, None] for v in (np.cos(yaw), np.sin(yaw)))
        along_x, along_y = c * rays[..., 0] - s * rays[..., 1], s * rays[..., 0] + c * rays[..., 1]
        centre = origins[len(origins) // 2, :2]
        x0, y0 = ((origins[:, k, None] - centre[k]).astype(np.float32) for k in (0, 1))
        place, across = self._map.road_coordinates(
            (x0 + reach * along_x).astype(np.float64) + centre[0],
            (y0 + reach * along_y).astype(np.float64) + centre[1],
            centre,
        )
        beyond = np.abs(across) > self._road.half_road
        if kerb > 0:
            raised = reach * np.float32(1 - kerb / level)
            _, higher = self._map.road_coordinates(
                (x0 + raised * along_x).astype(np.float64) + centre[0],
                (y0 + raised * along_y).astype(np.float64) + centre[1],
                centre,
            )
            inner, outer = np.abs(higher), np.abs(across)
            face = np.clip((self._road.half_road - inner) / np.maximum(outer - inner, 1e-3), 0, 1)
            reach = np.where(beyond, raised + face * (reach - raised), reach)
        dry = np.float32(1 - 0.6 * condition.wet)
        stone = _STONE if self._road.urban else _GRASS
        surface = np.where(
            self._road.on_line(place.astype(np.float64), across.astype(np.float64)), _PAINT, _ASPHALT * dry
        )
        echoes.range[:, : self._down] = reach
        surface = np.where(beyond, stone * dry, surface)
        echoes.brightness[:, : self._down] = brightness(surface, -rays[..., 2])
        return echoes

    def _received(
        self, echoes: Echoes, condition: Condition, rng: np.random.Generator
    ) -> tuple[Sweep, Indices]:
        """What the receiver makes of the echoes: lost and weak pulses, noise, returns from drops.

        Gives the sweep with each point where the lidar was at its moment, and the points' columns.
        """
        lidar = self._lidar
        beams = len(lidar.elevations)
        reach: Float32 = echoes.range.ravel()
        track: Int32 = echoes.track_id.ravel()
        bright = echoes.brightness.ravel() * np.exp(-2 * np.float32(condition.extinction) * reach)
        chance = rng.random((3, len(reach)), np.float32)
        signal = bright * np.square(_REFERENCE / np.maximum(reach, 1))
        received = (signal > _WEAKEST * (0.5 + chance[0])) & (chance[1] >= condition.dropout)
        if condition.backscatter:
            stopped = np.flatnonzero(chance[2] < condition.backscatter)
            drops = lidar.min_range + _DROP_RANGE * rng.standard_exponential(len(stopped))
            stopped, drops = stopped[drops < reach[stopped]], drops[drops < reach[stopped]]
            reach[stopped], track[stopped], bright[stopped], received[stopped] = (
                drops,
                0,
                _DROP_BRIGHTNESS,
                True,
            )
        pulse = np.flatnonzero(received & (reach <= lidar.max_range))
        reach = reach[pulse] + np.float32(lidar.range_noise) * rng.standard_normal(len(pulse), np.float32)
        kept = np.flatnonzero((reach >= lidar.min_range) & (reach <= lidar.max_range))
        reach, pulse = reach[kept], pulse[kept]
        column = pulse // beams
        sweep = Sweep(
            points_lidar=self._rays.reshape(-1, 3).take(pulse, axis=0) * reach[:, None],
            intensity=np.minimum(bright[pulse] * _MAX_INTENSITY, _MAX_INTENSITY).astype(np.float32),
            ring=(pulse % beams).astype(np.uint16),
            time=self._time[column].astype(np.float32),
            track_id=track[pulse],
        )
        return sweep, column


def _grid(azimuth: Float64, flat: Float64, up: Float64) -> Float32:
    """Unit directions (columns, beams, 3)."""
    x, y = np.cos(azimuth)[:, None] * flat, np.sin(azimuth)[:, None] * flat
    return np.stack([x, y, np.broadcast_to(up, x.shape)], axis=-1).astype(np.float32)
