import numpy as np
import pytest

from avperception.bags import messages, typestore
from avperception.bags.messages import Box3D
from avperception.drawing.birds_eye import TrueBox
from avperception.replay.truth import MATCH_DISTANCE, TruthScore, true_boxes
from avperception.types import Detection3D, FusedResult, LidarResult


def found(class_name: str, x: float, y: float, z: float = 0.9) -> Detection3D:
    return Detection3D(
        class_id=0,
        class_name=class_name,
        score=0.9,
        center=np.array([x, y, z]),
        size=np.array([1.0, 1.0, 1.8]),
        yaw=0.0,
        covariance=np.eye(6),
        cameras=("front",),
        point_indices=np.arange(9),
    )


def true(class_name: str, x: float, y: float, z: float = 0.9) -> TrueBox:
    return TrueBox(class_name, np.array([x, y, z]), np.array([1.0, 1.0, 1.8]), 0.0)


def summary(detections: list[Detection3D], truth: list[TrueBox]) -> dict:
    lidar = LidarResult(
        1, "lidar", np.zeros((0, 3), np.float32), np.zeros(0, np.float32), np.zeros(0, bool),
        np.zeros(0, np.float32), np.eye(4),
    )  # fmt: skip
    score = TruthScore()
    score.add(FusedResult(1, "base_link", tuple(detections), lidar, (), ()), truth)
    return score.summary()


def test_a_message_is_read_with_place_size_and_heading():
    box = Box3D("car", np.array([12.0, -3.0, 0.8]), np.array([4.2, 1.8, 1.5]), yaw=-2.2)
    message = messages.detections_3d(5, "base_link", [box, box])
    message = typestore().deserialize_cdr(
        typestore().serialize_cdr(message, messages.DETECTIONS_3D), messages.DETECTIONS_3D
    )
    message.detections[1].results = []
    (read,) = true_boxes(message)
    assert read.class_name == "car" and read.yaw == pytest.approx(-2.2)
    np.testing.assert_allclose(read.center, [12.0, -3.0, 0.8])
    np.testing.assert_allclose(read.size, [4.2, 1.8, 1.5])


def test_found_missed_and_invented():
    result = summary(
        [found("person", 8.3, 2.4), found("car", 30.0, 0.0)],
        [true("pedestrian", 8.0, 2.0), true("car", 12.0, 0.0)],
    )
    assert result["objects"] == {"car": 1, "pedestrian": 1}
    assert result["found"] == {"pedestrian": 1}
    assert result["unmatched_detections"] == {"car": 1}
    assert result["centre_error_m"]["pedestrian"] == pytest.approx({"median": 0.5, "max": 0.5})


def test_a_detection_counts_once_and_for_the_nearest():
    result = summary([found("car", 10.0, 0.0)], [true("car", 11.5, 0.0), true("car", 10.2, 0.0)])
    assert result["found"] == {"car": 1}
    assert result["centre_error_m"]["car"]["max"] == pytest.approx(0.2)
    result = summary([found("car", 10.5, 0.0), found("car", 10.0, 0.0)], [true("car", 10.1, 0.0)])
    assert result["found"] == {"car": 1} and result["unmatched_detections"] == {"car": 1}


def test_as_many_are_matched_as_can_be():
    """The nearest pair must not be taken when both detections could have one each."""
    result = summary(
        [found("car", 10.0, 0.0), found("car", 11.5, 0.0)], [true("car", 11.0, 0.0), true("car", 12.9, 0.0)]
    )
    assert result["found"] == {"car": 2}


@pytest.mark.parametrize(("distance", "hits"), [(MATCH_DISTANCE - 0.01, 1), (MATCH_DISTANCE + 0.01, 0)])
def test_the_farthest_that_still_counts(distance: float, hits: int):
    result = summary([found("car", 10.0 + distance, 0.0)], [true("car", 10.0, 0.0)])
    assert result["found"].get("car", 0) == hits


@pytest.mark.parametrize(
    ("seen", "labelled", "hits"),
    [("person", "pedestrian", 1), ("person", "cyclist", 1), ("car", "pedestrian", 0), ("truck", "car", 1)],
)
def test_which_classes_are_the_same_thing(seen: str, labelled: str, hits: int):
    result = summary([found(seen, 10.0, 0.0)], [true(labelled, 10.0, 0.0)])
    assert result["found"].get(labelled, 0) == hits


def test_nothing_there():
    assert summary([], [])["objects"] == {}
    assert summary([], [true("car", 1, 1)])["objects"] == {"car": 1}
    assert summary([found("car", 1, 1)], [])["unmatched_detections"] == {"car": 1}
