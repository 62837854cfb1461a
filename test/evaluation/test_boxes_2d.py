import importlib.util

import numpy as np
import pytest
from builders import detections_2d

from avperception.errors import ConfigurationError
from avperception.evaluation.boxes_2d import BoxScore2D, TrueBoxes2D

NAMES = ("car", "person")
A, B, C = (10, 10, 50, 40), (100, 20, 160, 90), (300, 50, 330, 120)


def truth(*boxes: tuple[tuple[float, ...], str, bool]) -> TrueBoxes2D:
    return TrueBoxes2D(
        np.array([box for box, _, _ in boxes], np.float32).reshape(-1, 4),
        tuple(name for _, name, _ in boxes),
        np.array([counted for _, _, counted in boxes], bool),
    )


def ap50(*images: tuple[list[tuple[float, ...]], list[str], list[float], TrueBoxes2D]) -> dict[str, float]:
    score = BoxScore2D(NAMES)
    for boxes, names, scores, true in images:
        score.add(detections_2d(boxes, names, scores), true)
    return score.ap50()


def test_everything_found_is_one() -> None:
    true = truth((A, "car", True), (B, "car", True), (C, "person", True))

    assert ap50(([A, B, C], ["car", "car", "person"], [0.9, 0.4, 0.6], true)) == pytest.approx(
        {"car": 1.0, "person": 1.0}
    )


def test_a_half_that_is_missed_halves_the_score() -> None:
    """Precision is 1 up to a recall of 0.5: 51 of COCO's 101 points."""
    true = truth((A, "car", True), (B, "car", True))

    assert ap50(([A], ["car"], [0.9], true))["car"] == pytest.approx(51 / 101, abs=1e-3)


def test_a_false_one_of_higher_score_costs_precision_and_one_of_lower_score_nothing() -> None:
    true = truth((A, "car", True))

    assert ap50(([A, C], ["car", "car"], [0.5, 0.9], true))["car"] == pytest.approx(0.5, abs=1e-6)
    assert ap50(([A, C], ["car", "car"], [0.9, 0.5], true))["car"] == pytest.approx(1.0)


@pytest.mark.parametrize(("shift", "expected"), [(12, 1.0), (15, 0.0)])
def test_an_overlap_of_a_half_is_the_limit(shift: float, expected: float) -> None:
    """Boxes 40 wide that are shifted by 40 / 3 overlap by exactly one half."""
    moved = (A[0] + shift, A[1], A[2] + shift, A[3])

    assert ap50(([moved], ["car"], [0.9], truth((A, "car", True))))["car"] == pytest.approx(expected)


def test_what_does_not_count_may_be_found_or_not() -> None:
    true = truth((A, "car", True), (B, "car", False))

    assert ap50(([A], ["car"], [0.9], true))["car"] == pytest.approx(1.0)
    assert ap50(([A, B], ["car", "car"], [0.5, 0.9], true))["car"] == pytest.approx(1.0)


def test_a_box_of_another_class_and_of_another_image_is_no_hit() -> None:
    true = truth((A, "car", True))

    assert ap50(([A], ["person"], [0.9], true))["car"] == 0.0
    assert ap50(([], [], [], true), ([A], ["car"], [0.9], truth()))["car"] == 0.0


@pytest.mark.parametrize("found", [[], [A]], ids=["nothing found", "something found"])
def test_a_class_without_an_object_that_counts_has_no_score(found: list[tuple[float, ...]]) -> None:
    true = truth((A, "car", False), (B, "person", True))

    assert set(ap50((found, ["car"] * len(found), [0.9] * len(found), true))) == {"person"}


def test_classes_that_are_not_scored_are_left_out() -> None:
    true = truth((A, "car", True), (B, "dragon", True))

    assert ap50(([A, B], ["car", "dragon"], [0.9, 0.9], true)) == pytest.approx({"car": 1.0})


def test_counts_are_of_what_counts() -> None:
    score = BoxScore2D(NAMES)
    score.add(detections_2d([], []), truth((A, "car", True), (B, "car", False), (C, "dragon", True)))

    assert score.counts == {"car": 1, "person": 0}


def test_without_pycocotools_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "pycocotools" else find_spec(name, *a)
    )

    with pytest.raises(ConfigurationError, match="pip install") as caught:
        ap50(([A], ["car"], [0.9], truth((A, "car", True))))
    assert "\n" not in str(caught.value)


def test_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    ap50(([A], ["car"], [0.9], truth((A, "car", True))))

    assert capsys.readouterr().out == ""
