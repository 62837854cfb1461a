from __future__ import annotations

from typing import Any

import pytest

from avperception.report.rows import class_rows, condition_scores

SUMMARY: dict[str, Any] = {
    "detections_2d": {"car": 5, "bus": 1},
    "detections_3d": {"car": 3},
    "truth": {
        "objects": {"car": 4, "pedestrian": 2},
        "found": {"car": 3},
        "centre_error_m": {"car": {"median": 0.25, "max": 1.0}},
    },
}
EVALUATION: dict[str, Any] = {
    "ap50": {"car": 0.9, "pedestrian": 0.5},
    "ap3d_1m": {"car": 0.8, "pedestrian": 0.4, "all": 0.6},
    "centre_error_m": {"median": 0.2, "car": 0.1},
    "miou": 0.7,
    "by_condition": {
        "day": {"ap50": {"car": 1.0}, "ap3d_1m": {"car": 0.9, "all": 0.9}, "miou": 0.8},
        "fog": {"ap50": {"pedestrian": 0.5}, "ap3d_1m": {"pedestrian": 0.4, "all": 0.4}, "miou": None},
    },
}


def test_every_class_that_was_found_or_is_true_has_a_row_and_all_comes_last() -> None:
    rows = class_rows(SUMMARY, None)
    assert [row.class_name for row in rows] == ["bus", "car", "pedestrian", "all"]
    bus, car, pedestrian, total = rows
    assert (car.detections_2d, car.detections_3d, car.found, car.true_objects) == (5, 3, 3, 4)
    assert (bus.detections_2d, bus.true_objects, bus.centre_error_m) == (1, 0, None)
    assert (pedestrian.detections_3d, pedestrian.found, pedestrian.true_objects) == (0, 0, 2)
    assert (total.detections_2d, total.detections_3d, total.found, total.true_objects) == (6, 3, 3, 6)
    assert car.centre_error_m == 0.25 and car.ap50 is None


def test_scores_come_from_the_evaluation() -> None:
    _, car, pedestrian, total = class_rows(SUMMARY, EVALUATION)
    assert (car.ap50, car.ap3d_1m, car.centre_error_m) == (0.9, 0.8, 0.1)
    assert pedestrian.centre_error_m is None
    assert (total.ap50, total.ap3d_1m, total.centre_error_m) == (pytest.approx(0.7), 0.6, 0.2)


def test_without_truth_nothing_is_claimed() -> None:
    bare = {"detections_2d": {"car": 5}, "detections_3d": {}}
    for row in class_rows(bare, None):
        assert row.true_objects is row.found is row.ap50 is row.ap3d_1m is row.centre_error_m is None


def test_scores_by_condition() -> None:
    scores = condition_scores(EVALUATION)
    assert scores["ap50"] == {"car": {"all": 0.9, "day": 1.0}, "pedestrian": {"all": 0.5, "fog": 0.5}}
    assert scores["ap3d_1m"]["all"] == {"all": 0.6, "day": 0.9, "fog": 0.4}
    assert scores["miou"] == {"mean": {"all": 0.7, "day": 0.8}}


def test_a_single_condition_is_not_told_twice() -> None:
    one = {**EVALUATION, "by_condition": {"fog": EVALUATION["by_condition"]["fog"]}}
    assert condition_scores(one)["ap50"] == {"pedestrian": {"fog": 0.5}}
