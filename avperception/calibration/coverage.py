"""What light, contrast and sharpness a set of images covers, and what a live image is outside of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from avperception.calibration.conditions import condition_of
from avperception.calibration.statistics import FEATURES, SIGNED, ImageStatistics
from avperception.errors import ConfigurationError

BINS = 20
MARGIN = 0.05
"""How far beyond the set's own values an image may be before it counts as outside, in the feature's unit."""


@dataclass(frozen=True)
class FeatureCoverage:
    """Lowest and highest value of one statistic in the set, and its histogram over the feature's range."""

    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Coverage:
    """Range and histogram of every image statistic of a set, and how many images show which condition."""

    images: int
    features: Mapping[str, FeatureCoverage]
    conditions: Mapping[str, int]

    @classmethod
    def of(cls, statistics: Iterable[ImageStatistics]) -> Coverage:
        """The coverage of these images."""
        rows = list(statistics)
        conditions: dict[str, int] = {}
        for row in rows:
            name = condition_of(row)
            conditions[name] = conditions.get(name, 0) + 1
        features = {}
        for name in FEATURES if rows else ():
            values = np.array([getattr(row, name) for row in rows])
            counts, _ = np.histogram(np.clip(values, *feature_range(name)), BINS, feature_range(name))
            features[name] = FeatureCoverage(
                round(float(values.min()), 4), round(float(values.max()), 4), tuple(counts.tolist())
            )
        return cls(len(rows), features, dict(sorted(conditions.items())))

    def as_dict(self) -> dict[str, Any]:
        """The coverage as plain values for JSON (the engine's manifest)."""
        return {
            "images": self.images,
            "conditions": dict(self.conditions),
            "features": {
                name: {
                    "low": f.low,
                    "high": f.high,
                    "range": list(feature_range(name)),
                    "counts": list(f.counts),
                }
                for name, f in self.features.items()
            },
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Coverage:
        """The coverage that `as_dict` gave; raises ConfigurationError for anything else."""
        try:
            return cls(
                int(values["images"]),
                {
                    name: FeatureCoverage(float(f["low"]), float(f["high"]), tuple(map(int, f["counts"])))
                    for name, f in values["features"].items()
                    if name in FEATURES
                },
                {str(name): int(count) for name, count in values["conditions"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigurationError(
                f"this is no coverage of a calibration set ({error!r}): build the engine again"
            ) from error

    def outside(self, statistics: ImageStatistics) -> list[str]:
        """What of one image's statistics lies outside of the set, each in a few words; nothing is [].

        A value is outside when it is further than MARGIN (0.05) beyond the lowest or highest of the set.
        """
        found = []
        for name, feature in self.features.items():
            value = getattr(statistics, name)
            if value < feature.low - MARGIN:
                found.append(f"{name} {value:.2f} is below {feature.low:.2f}, the lowest calibrated with")
            elif value > feature.high + MARGIN:
                found.append(f"{name} {value:.2f} is above {feature.high:.2f}, the highest calibrated with")
        return found


def feature_range(name: str) -> tuple[float, float]:
    """Lowest and highest value that a statistic can have, for histograms."""
    return (-1.0, 1.0) if name in SIGNED else (0.0, 1.0)
