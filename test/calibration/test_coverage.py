from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avperception.calibration import Coverage, ImageStatistics
from avperception.calibration.coverage import BINS, MARGIN
from avperception.calibration.report import report_on
from avperception.calibration.statistics import FEATURES, SIGNED
from avperception.errors import ConfigurationError

DAY = ImageStatistics(0.5, 0.2, 0.01, 0.01, 0.15, 0.6, 0.2, 0.05)
NIGHT = ImageStatistics(0.1, 0.15, 0.4, 0.0, 0.08, 0.6, -0.2, 0.05)

STATISTICS = st.builds(
    ImageStatistics, **{name: st.floats(-1 if name in SIGNED else 0, 1) for name in FEATURES}
)


@given(st.lists(STATISTICS, min_size=1, max_size=20))
def test_what_a_set_holds_is_never_outside_of_it(images: list[ImageStatistics]) -> None:
    coverage = Coverage.of(images)
    assert all(coverage.outside(image) == [] for image in images)
    for feature in coverage.features.values():
        assert len(feature.counts) == BINS
        assert sum(feature.counts) == len(images)
    assert sum(coverage.conditions.values()) == len(images)


def test_night_is_outside_of_a_set_of_days() -> None:
    coverage = Coverage.of([DAY, replace(DAY, brightness=0.45)])
    found = coverage.outside(NIGHT)
    assert "brightness 0.10 is below 0.45, the lowest calibrated with" in found
    assert "dark_share 0.40 is above 0.01, the highest calibrated with" in found
    assert not any(text.startswith("sharpness") for text in found)


def test_the_margin() -> None:
    coverage = Coverage.of([DAY])
    assert coverage.outside(replace(DAY, brightness=0.5 - 0.99 * MARGIN)) == []
    assert len(coverage.outside(replace(DAY, brightness=0.5 - 1.01 * MARGIN))) == 1


def test_json_and_back() -> None:
    coverage = Coverage.of([DAY, NIGHT])
    assert Coverage.from_dict(json.loads(json.dumps(coverage.as_dict()))) == coverage


@pytest.mark.parametrize("values", [{}, {"images": 1, "features": [], "conditions": {}}, {"images": "x"}])
def test_what_is_no_coverage(values: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="no coverage of a calibration set"):
        Coverage.from_dict(values)


def test_missing_conditions_are_named() -> None:
    report = report_on(Coverage.of([DAY] * 98 + [NIGHT] * 2))
    assert report.missing == ("dusk", "tunnel", "glare", "rain or fog", "blurred")
    assert report.lines[0] == "100 images, by rules of thumb: day 98%, night 2%"
    assert "missing: tunnel: add frames inside a tunnel, and at its mouths" in report.lines
    assert "night" in report_on(Coverage.of([DAY] * 99 + [NIGHT])).missing
