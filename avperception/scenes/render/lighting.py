"""How bright things are: sky, sun, headlights, street lamps, tunnels and the haze in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avperception.scenes.conditions import Condition
from avperception.scenes.render.mesh import Mesh
from avperception.scenes.shapes.shape import HEAD_LAMP, NO_LAMP, STREET_LAMP, TAIL_LAMP
from avperception.scenes.solid import Solid
from avperception.types import Float32, Float64

LAMP_COLOURS: dict[int, tuple[float, float, float]] = {
    HEAD_LAMP: (245.0, 252.0, 255.0),
    TAIL_LAMP: (50.0, 40.0, 245.0),
    STREET_LAMP: (190.0, 235.0, 255.0),
}
"""BGR of lamps that shine."""

_HEAD_LAMPS = np.array([(2.2, 0.65, 0.65), (2.2, -0.65, 0.65)], np.float32)  # m, base_link
_HEAD_LAMP_TINT = np.array((0.95, 1.0, 1.0), np.float32)
_STREET_LAMP_TINT = np.array((0.62, 0.88, 1.0), np.float32)
_TUNNEL_AMBIENT = 0.34
_TUNNEL_GAIN = 1.75  # exposure inside, against outside


@dataclass(frozen=True)
class Light:
    """The light of one moment: the condition, the sun and the lamps about.

    `sun_direction` (3,) points to the sun, `lamps` (L, 3) are street lamps, both in the world, the lamps
    relative to the eye; `T_base_eye` (3, 4) maps world directions from the eye to base_link.
    `tunnel` is the span of s in a tunnel, or None; `gain` the exposure.
    """

    condition: Condition
    sun_direction: Float64
    lamps: Float32
    T_base_eye: Float32
    tunnel: tuple[float, float] | None
    gain: float

    def shade(self, mesh: Mesh) -> Float32:
        """Colours (P, 3) BGR 0-255 of the polygons of a mesh, haze included."""
        condition = self.condition
        inside = self._in_tunnel(mesh.solids)[mesh.solid][:, None]
        rise = 0.72 + 0.28 * mesh.normals[:, 2:]
        light = np.asarray(condition.ambient, np.float32) * rise * np.where(inside, _TUNNEL_AMBIENT, 1.0)
        towards_sun = np.maximum(mesh.normals @ self.sun_direction.astype(np.float32), 0)[:, None]
        light += np.where(inside, 0.0, towards_sun) * np.asarray(condition.sun, np.float32)
        if condition.lamps > 0:
            base = mesh.centres @ self.T_base_eye[:, :3].T + self.T_base_eye[:, 3]
            facing = np.clip(-mesh.normals @ self.T_base_eye[0, :3], 0.25, 1.0)[:, None]
            light += (condition.lamps * headlight(base))[:, None] * facing * _HEAD_LAMP_TINT
            light += self._street_light(mesh.centres)
        mirrored = np.asarray(condition.sky_low, np.float32) * np.where(inside, _TUNNEL_AMBIENT, 1.0)
        gloss = mesh.gloss[:, None]
        colours = self.gain * (mesh.albedo * (1 - gloss) * light + gloss * mirrored * rise)
        if condition.lamps > 0:
            shining = mesh.lamp != NO_LAMP
            for i in np.flatnonzero(shining):
                if mesh.solids[mesh.solid[i]].lamps:
                    colours[i] = LAMP_COLOURS.get(int(mesh.lamp[i]), colours[i])
        haze = np.exp(-condition.fog_density * np.linalg.norm(mesh.centres, axis=1))[:, None]
        colours = colours * haze + (1 - haze) * np.asarray(condition.fog, np.float32)
        return np.asarray(np.clip(colours, 0, 255), np.float32)

    def ground(self, points_base: Float32, points_eye: Float32) -> Float32:
        """Light (..., 3) that falls on level ground at points (..., 3), without haze and tunnels."""
        condition = self.condition
        light = np.broadcast_to(np.asarray(condition.ambient, np.float32), points_base.shape).copy()
        light += np.asarray(condition.sun, np.float32) * np.float32(max(self.sun_direction[2], 0.0))
        if condition.lamps > 0:
            light += (condition.lamps * headlight(points_base))[..., None] * _HEAD_LAMP_TINT
            light += self._street_light(points_eye)
        return light * np.float32(self.gain)

    def _street_light(self, points_eye: Float32) -> Float32:
        total = np.zeros((*points_eye.shape[:-1], 1), np.float32)
        for lamp in self.lamps:
            away = points_eye - lamp
            distance2 = (away[..., :2] ** 2).sum(axis=-1, keepdims=True)
            total += 0.42 / (1 + distance2 / 24.0)
        return np.minimum(total, 0.7) * _STREET_LAMP_TINT * np.float32(max(self.condition.lamps, 0.5))

    def _in_tunnel(self, solids: list[Solid]) -> np.ndarray:  # type: ignore[type-arg]
        if self.tunnel is None:
            return np.zeros(max(len(solids), 1), bool)
        low, high = self.tunnel
        return np.array([low < solid.s < high for solid in solids])


def headlight(points_base: Float32) -> Float32:
    """Light (...) of the ego vehicle's low beam at points (..., 3) in base_link.

    Bright within 15 degrees of ahead and below the horizon, a third of it above; falls with distance.
    """
    total = np.zeros(points_base.shape[:-1], np.float32)
    for lamp in _HEAD_LAMPS:
        x, y, z = np.moveaxis(points_base - lamp, -1, 0)
        distance = np.sqrt(x * x + y * y) + np.float32(1e-3)
        beam = np.where(x > 0, np.exp(-((y / (0.28 * np.abs(x) + 0.3)) ** 2)), 0.0)
        cut_off = 0.33 + 0.67 / (1 + np.exp(np.clip((z / distance - 0.005) * 120, -30, 30)))
        total += beam * cut_off * 0.72 / (1 + (distance / 22.0) ** 2)
    return total


def tunnel_gain(s: float, tunnel: tuple[float, float] | None) -> float:
    """The exposure that a camera has reached at `s`: it opens within 14 m inside and closes again outside."""
    if tunnel is None:
        return 1.0
    inside = np.clip((s - tunnel[0] + 2.0) / 16.0, 0, 1) * np.clip((tunnel[1] + 10.0 - s) / 14.0, 0, 1)
    return float(1.0 + (_TUNNEL_GAIN - 1.0) * inside)


def sun_vector(height: float, azimuth: float) -> Float64:
    """Unit vector (3,) to the sun at `height` over the horizon and `azimuth` from the world's x, radians."""
    return np.array([np.cos(height) * np.cos(azimuth), np.cos(height) * np.sin(azimuth), np.sin(height)])
