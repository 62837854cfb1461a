import numpy as np
import pytest
from builders import detection_3d
from hypothesis import given, settings
from hypothesis import strategies as st

from avperception.evaluation.boxes_3d import BoxScore3D, TrueBox3D
from avperception.types import Detection3D


def box(x: float, y: float = 0.0, name: str = "car", counted: bool = True) -> TrueBox3D:
    return TrueBox3D(name, np.array([x, y, 0.8]), counted)


def found(x: float, y: float = 0.0, score: float = 0.9, name: str = "car") -> Detection3D:
    return detection_3d(x, y, name, score=score)


def score_of(*sweeps: tuple[list[Detection3D], list[TrueBox3D]], max_range: float = np.inf) -> BoxScore3D:
    score = BoxScore3D(("car", "person"), max_range=max_range)
    for detections, truth in sweeps:
        score.add(detections, truth)
    return score


def nuscenes_ap(precision: list[float]) -> float:
    """nuScenes' sum over recalls of 0.11 to 1.00, for a precision given at each of these 90 points."""
    return float(np.clip(np.array(precision) - 0.1, 0, None).mean() / 0.9)


def test_everything_found_is_one() -> None:
    score = score_of(([found(10), found(20, name="person")], [box(10.4), box(20, name="person")]))

    assert score.ap() == pytest.approx({"car": 1.0, "person": 1.0, "all": 1.0})


def test_one_of_two_found() -> None:
    """Precision 1 up to recall 0.5, the last of 40 points of 90, and 0 after."""
    assert score_of(([found(10)], [box(10), box(20)])).ap()["car"] == pytest.approx(
        nuscenes_ap([1.0] * 40 + [0.0] * 50)
    )


def test_a_false_one_of_higher_score_costs_precision() -> None:
    # One recall value only, 1, so precision is 0.5 everywhere.
    low = score_of(([found(10, score=0.5), found(30, score=0.9)], [box(10)])).ap()["car"]
    high = score_of(([found(10, score=0.9), found(30, score=0.5)], [box(10)])).ap()["car"]

    # Before the first hit recall is 0 at precision 0; it rises to 0.5 at recall 1.
    assert low == pytest.approx(nuscenes_ap([r / 200 for r in range(11, 101)]))
    assert high > 0.95


@pytest.mark.parametrize(("offset", "expected"), [(0.99, 1.0), (1.01, 0.0)])
def test_a_metre_on_the_ground_is_the_limit(offset: float, expected: float) -> None:
    high = detection_3d(10 + offset, 0, size=(4.3, 1.85, 6.0))  # height does not matter

    assert score_of(([high], [box(10)])).ap()["car"] == pytest.approx(expected)


def test_an_object_is_taken_once_and_by_the_better_score() -> None:
    score = score_of(([found(10.5, score=0.9), found(10.1, score=0.6)], [box(10)]))

    assert score.median_error() == pytest.approx({"car": 0.5, "all": 0.5}, abs=0.01)


def test_the_nearest_free_object_is_taken() -> None:
    detections = [found(10.0, 0.0, 0.9), found(10.0, 0.5, 0.8)]
    score = score_of((detections, [box(10, 0.1), box(10, 0.9)]))

    assert score.ap()["car"] == pytest.approx(1.0)
    assert score.median_error()["car"] == pytest.approx(0.25, abs=0.01)


def test_classes_and_sweeps_are_apart() -> None:
    score = score_of(([found(10, name="person")], [box(10)]), ([found(20)], [box(10)]))

    assert score.ap()["car"] == 0.0


class TestWhatDoesNotCount:
    def test_it_need_not_be_found(self) -> None:
        assert score_of(([found(10)], [box(10), box(20, counted=False)])).ap()["car"] == pytest.approx(1.0)

    @pytest.mark.parametrize("offset", [0.0, 0.9, 1.9])
    def test_a_box_on_it_is_no_false_one(self, offset: float) -> None:
        detections = [found(20 + offset, score=0.95), found(10)]
        score = score_of((detections, [box(10), box(20, counted=False)]))

        assert score.ap()["car"] == pytest.approx(1.0)
        assert score.median_error()["car"] == pytest.approx(0.0, abs=0.01)

    def test_a_box_beside_it_is_false(self) -> None:
        detections = [found(22.1, score=0.95), found(10)]

        assert score_of((detections, [box(10), box(20, counted=False)])).ap()["car"] < 0.6

    def test_a_false_box_beyond_the_range_is_left_out(self) -> None:
        sweep = ([found(45, score=0.95), found(10)], [box(10)])

        assert score_of(sweep, max_range=40).ap()["car"] == pytest.approx(1.0)
        assert score_of(sweep, max_range=50).ap()["car"] < 0.6

    def test_a_true_box_just_beyond_the_range_is_a_hit(self) -> None:
        assert score_of(([found(40.2)], [box(39.9)]), max_range=40).ap()["car"] == pytest.approx(1.0)

    def test_a_class_of_which_none_counts_has_no_score(self) -> None:
        score = score_of(([found(10)], [box(10), box(20, name="person", counted=False)]))

        assert set(score.ap()) == {"car", "all"}
        assert score.counts == {"car": 1, "person": 0}


def test_nothing_gives_nothing() -> None:
    assert score_of().ap() == {} and score_of(([], [])).median_error() == {}
    assert score_of(([], [box(10)])).ap() == {"car": 0.0, "all": 0.0}


positions = st.lists(st.tuples(st.floats(-30, 30), st.floats(-30, 30), st.floats(0.05, 1)), max_size=12)


@given(positions, positions)
@settings(max_examples=60, deadline=None)
def test_scores_are_shares_and_errors_within_the_limit(
    detections: list[tuple[float, float, float]], objects: list[tuple[float, float, float]]
) -> None:
    sweep = ([found(x, y, s) for x, y, s in detections], [box(x, y, counted=s > 0.3) for x, y, s in objects])
    score = score_of(sweep)

    assert all(0 <= value <= 1 for value in score.ap().values())
    assert all(0 <= value <= 1.01 for value in score.median_error().values())
    reversed_score = score_of((sweep[0][::-1], sweep[1]))
    if len({s for _, _, s in detections}) == len(detections):
        assert reversed_score.ap() == score.ap()
