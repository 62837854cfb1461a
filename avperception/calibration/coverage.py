"""What light, contrast and sharpness a set of images covers, and what a live image is outside of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from avperception.calibration.conditions import MISSING_BELOW, condition_of
from avperception.calibration.statistics import FEATURES, SIGNED, ImageStatistics
from avperception.errors import ConfigurationError

BINS = 20
MARGIN = 0.05
"""How far beyond the set's own values an image may be before it counts as outside, in the feature's unit."""

HARD_CONDITIONS = ("night", "tunnel", "glare", "rain or fog")
"""Conditions that a set has to hold, whatever single statistics say: days and nights together have the
brightness of a tunnel in their range, and nothing like one."""

JUDGED_FROM = 20
"""Images from which on a single one that lies apart counts as odd; a smaller set is taken as it is."""
GAP = 2
"""Empty bins between odd images and the rest: a tenth of an unsigned statistic's range."""


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
        """What of one image lies outside of the set, each in a few words; nothing is [].

        A hard condition (HARD_CONDITIONS) is outside when the set holds no such image, or so few that they
        are odd ones; a value when it is further than MARGIN (0.05) beyond the set's range without them.
        """
        found = self._unknown_condition(condition_of(statistics))
        for name, feature in self.features.items():
            value = getattr(statistics, name)
            low, high = _range_without(feature, feature_range(name), self._odd_images)
            if value < low - MARGIN:
                found.append(f"{name} {value:.2f} is below {low:.2f}, the lowest calibrated with")
            elif value > high + MARGIN:
                found.append(f"{name} {value:.2f} is above {high:.2f}, the highest calibrated with")
        return found

    @property
    def _odd_images(self) -> int:
        """How many images alone say nothing of a set: those that the report would call missing, or one."""
        if self.images < JUDGED_FROM:
            return 0
        return max(1, math.ceil(MISSING_BELOW * self.images) - 1)

    def _unknown_condition(self, condition: str) -> list[str]:
        known = self.conditions.get(condition, 0)
        if condition not in HARD_CONDITIONS or not self.conditions or known > self._odd_images:
            return []
        if not known:
            return [f"{condition}: not in the calibration set"]
        return [f"{condition}: only {known} of {self.images} images of the calibration set"]


def _range_without(
    feature: FeatureCoverage, full: tuple[float, float], odd_images: int
) -> tuple[float, float]:
    """Lowest and highest value of a statistic, without at most `odd_images` at each end that lie apart.

    Apart means GAP empty bins of the histogram; the bound is then the outer edge of the next bin that is not.
    """
    edges = np.linspace(*full, len(feature.counts) + 1)
    first = _first_of_the_rest(feature.counts, odd_images)
    last = len(feature.counts) - _first_of_the_rest(feature.counts[::-1], odd_images)
    low = max(feature.low, float(edges[first])) if first else feature.low
    high = min(feature.high, float(edges[last])) if last < len(feature.counts) else feature.high
    return low, high


def _first_of_the_rest(counts: Sequence[int], odd_images: int) -> int:
    """The first bin behind odd images, 0 where there are none."""
    passed, before, rest = 0, None, 0
    for position in (position for position, count in enumerate(counts) if count):
        if before is not None and position - before > GAP:
            rest = position
        passed += counts[position]
        if passed > odd_images:
            break
        before = position
    return rest


def feature_range(name: str) -> tuple[float, float]:
    """Lowest and highest value that a statistic can have, for histograms."""
    return (-1.0, 1.0) if name in SIGNED else (0.0, 1.0)
