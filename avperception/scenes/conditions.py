"""Light and weather: what cameras and lidars see of the same world by day, at night, in rain or fog."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from avperception.errors import ConfigurationError

Tint = tuple[float, float, float]
"""Blue, green, red factors."""


@dataclass(frozen=True)
class Condition:
    """Light, air, exposure and lidar quality of a scene.

    `ambient` and `sun` are what an unshaded white surface gets of each, as factors of white; `sun_height`
    is in radians. `sky_low`, `sky_high` and `fog` are BGR 0-255. `fog_density` is the extinction of
    light in 1/m. `noise` is the sensor's noise in grey values, `blur` the optics' sigma in pixels,
    `gain` and `gamma` the exposure. `lamps` is how bright headlights and street lamps look beside the
    daylight, 0 (off) to 1. For the lidar: `dropout` the share of pulses lost, `extinction` in
    1/m, `backscatter` the share of pulses that return from drops in the air, `wet` 0-1 darkens the road.
    """

    name: str
    ambient: Tint
    sun: Tint
    sun_height: float
    sky_low: Tint
    sky_high: Tint
    clouds: float
    fog: Tint
    fog_density: float
    shadow: float
    noise: float
    blur: float
    gain: float = 1.0
    gamma: float = 1.0
    lamps: float = 0.0
    rain: float = 0.0
    wet: float = 0.0
    dropout: float = 0.02
    extinction: float = 0.0005
    backscatter: float = 0.0

    def varied(self, rng: np.random.Generator) -> Condition:
        """The same kind of weather on another day: light, haze, noise and sun differ by a fifth."""
        factor = rng.uniform(0.8, 1.2, 5)
        tint = rng.normal(1.0, 0.015, 3)
        return replace(
            self,
            ambient=_scaled(self.ambient, factor[0] * tint),
            sun=_scaled(self.sun, factor[1] * tint),
            sun_height=self.sun_height * rng.uniform(0.75, 1.25),
            sky_low=_scaled(self.sky_low, np.sqrt(factor[0]) * tint),
            sky_high=_scaled(self.sky_high, np.sqrt(factor[0]) * tint),
            fog=_scaled(self.fog, np.sqrt(factor[0]) * tint),
            clouds=float(np.clip(self.clouds * rng.uniform(0.4, 1.6), 0, 1)),
            fog_density=self.fog_density * factor[2],
            noise=self.noise * factor[3],
            blur=self.blur * factor[4],
            gain=self.gain * rng.uniform(0.88, 1.12),
        )


_DAY = Condition(
    name="day",
    ambient=(0.80, 0.73, 0.68),
    sun=(0.66, 0.74, 0.80),
    sun_height=0.75,
    sky_low=(232, 222, 208),
    sky_high=(226, 178, 128),
    clouds=0.5,
    fog=(214, 208, 200),
    fog_density=0.0012,
    shadow=0.45,
    noise=2.5,
    blur=0.45,
)

CONDITIONS: dict[str, Condition] = {
    "day": _DAY,
    "dusk": Condition(
        name="dusk",
        ambient=(0.46, 0.39, 0.39),
        sun=(0.22, 0.42, 0.62),
        sun_height=0.16,
        sky_low=(120, 160, 220),
        sky_high=(120, 90, 72),
        clouds=0.7,
        fog=(126, 132, 152),
        fog_density=0.002,
        shadow=0.3,
        noise=5.0,
        blur=0.55,
        lamps=0.45,
    ),
    "night": Condition(
        name="night",
        ambient=(0.20, 0.17, 0.155),
        sun=(0.0, 0.0, 0.0),
        sun_height=1.0,
        sky_low=(42, 36, 34),
        sky_high=(24, 17, 13),
        clouds=0.6,
        fog=(34, 30, 28),
        fog_density=0.0015,
        shadow=0.15,
        noise=9.0,
        blur=0.7,
        gain=1.15,
        lamps=1.0,
    ),
    "rain": Condition(
        name="rain",
        ambient=(0.78, 0.75, 0.73),
        sun=(0.0, 0.0, 0.0),
        sun_height=1.0,
        sky_low=(178, 176, 172),
        sky_high=(150, 146, 142),
        clouds=1.0,
        fog=(168, 166, 162),
        fog_density=0.007,
        shadow=0.25,
        noise=4.5,
        blur=0.85,
        gain=0.9,
        lamps=0.12,
        rain=1.0,
        wet=0.7,
        dropout=0.08,
        extinction=0.008,
        backscatter=0.012,
    ),
    "fog": Condition(
        name="fog",
        ambient=(0.86, 0.84, 0.82),
        sun=(0.0, 0.0, 0.0),
        sun_height=1.0,
        sky_low=(196, 196, 194),
        sky_high=(186, 186, 184),
        clouds=0.2,
        fog=(194, 194, 192),
        fog_density=0.024,
        shadow=0.15,
        noise=3.5,
        blur=0.75,
        gain=0.95,
        lamps=0.12,
        dropout=0.05,
        extinction=0.022,
        backscatter=0.03,
    ),
    "tunnel": replace(_DAY, name="tunnel", lamps=0.35),
}
"""Every condition a scene can have, by name."""

MIXED = "mixed"
"""The name under which one recording goes through all conditions, each for an equal part of the time."""


def condition_named(name: str) -> Condition:
    """Return the condition of that name; ConfigurationError lists those there are."""
    if name not in CONDITIONS:
        known = ", ".join([*CONDITIONS, MIXED])
        raise ConfigurationError(f"condition '{name}' does not exist: choose one of {known}")
    return CONDITIONS[name]


def _scaled(tint: Tint, factor: float | NDArray[np.float64]) -> Tint:
    blue, green, red = np.asarray(tint) * factor
    return (float(blue), float(green), float(red))
