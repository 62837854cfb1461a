from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avperception.calibration import Coverage, ImageStatistics
from avperception.calibration.coverage import BINS, JUDGED_FROM, MARGIN
from avperception.calibration.report import report_on
from avperception.calibration.statistics import FEATURES, SIGNED
from avperception.errors import ConfigurationError

DAY = ImageStatistics(0.5, 0.2, 0.01, 0.01, 0.15, 0.6, 0.2, 0.05)
NIGHT = ImageStatistics(0.1, 0.15, 0.4, 0.0, 0.08, 0.6, -0.2, 0.05)

STATISTICS = st.builds(
    ImageStatistics, **{name: st.floats(-1 if name in SIGNED else 0, 1) for name in FEATURES}
)


@given(st.lists(STATISTICS, min_size=1, max_size=JUDGED_FROM - 1))
def test_what_a_small_set_holds_is_never_outside_of_it(images: list[ImageStatistics]) -> None:
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


TUNNEL = ImageStatistics(0.25, 0.15, 0.01, 0.0, 0.1, 0.6, -0.15, 0.05)


def test_a_tunnel_is_outside_of_a_set_of_days_and_nights() -> None:
    """All its values lie between those of a day and a night, so no range of one statistic can tell."""
    coverage = Coverage.of([DAY, NIGHT] * 20)
    assert coverage.outside(TUNNEL) == ["tunnel: not in the calibration set"]
    assert coverage.outside(DAY) == coverage.outside(NIGHT) == []
    assert Coverage.of([DAY, NIGHT, TUNNEL] * 20).outside(TUNNEL) == []
    assert Coverage.of([DAY, NIGHT, TUNNEL]).outside(TUNNEL) == []


def test_a_single_tunnel_among_many_is_none() -> None:
    coverage = Coverage.of([DAY, NIGHT] * 20 + [TUNNEL])
    assert coverage.outside(TUNNEL) == ["tunnel: only 1 of 41 images of the calibration set"]


def test_one_black_image_does_not_stretch_the_ranges() -> None:
    black = ImageStatistics(0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    coverage = Coverage.of([DAY] * 60 + [black])
    assert coverage.outside(DAY) == []
    found = coverage.outside(replace(DAY, dark_share=0.7, brightness=0.25))
    assert "dark_share 0.70 is above 0.05, the highest calibrated with" in found
    assert "brightness 0.25 is below 0.50, the lowest calibrated with" in found
    assert coverage.features["dark_share"].high == 1.0, "what the set holds is still said"


@given(
    st.lists(STATISTICS, min_size=JUDGED_FROM, max_size=120),
    st.sampled_from(FEATURES),
)
def test_at_most_the_odd_images_are_outside(images: list[ImageStatistics], feature: str) -> None:
    coverage = Coverage.of(images)
    odd = sum(any(text.startswith(f"{feature} ") for text in coverage.outside(image)) for image in images)
    assert odd <= 2 * max(1, 0.02 * len(images))


def test_a_coverage_without_conditions_is_judged_by_its_ranges() -> None:
    values = {**Coverage.of([DAY, NIGHT] * 20).as_dict(), "conditions": {}}
    assert Coverage.from_dict(values).outside(TUNNEL) == []


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
