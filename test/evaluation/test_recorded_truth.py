"""Truth as it comes out of a scene's own messages."""

import numpy as np
import pytest

from avperception.evaluation.truth import true_boxes_2d, true_boxes_3d, visible_shares
from avperception.scenes.messages import detections_2d, detections_3d
from avperception.scenes.truth import BoxTruth, ObjectTruth


def seen(
    track_id: int, visible: float = 1.0, truncated: float = 0.0, at: tuple[float, ...] = (0.0, 1.0, 10.0)
) -> BoxTruth:
    return BoxTruth(track_id, "car", np.array([10.0, 20, 50, 40]), visible, truncated, np.array(at))


def thing(track_id: int, x: float = 10.0, y: float = 0.0, points: int = 20) -> ObjectTruth:
    return ObjectTruth(
        track_id, "car", np.array([x, y, 0.8]), np.array([4.0, 1.8, 1.5]), 0.3, np.zeros(3), points
    )


def test_boxes_come_back_as_they_were() -> None:
    truth = true_boxes_2d(detections_2d([seen(1)], "camera", 5))

    np.testing.assert_allclose(truth.boxes, [[10, 20, 50, 40]])
    assert truth.class_names == ("car",) and truth.counted.tolist() == [True]


@pytest.mark.parametrize(
    ("box", "counts"),
    [
        (seen(1, visible=0.5), True),
        (seen(1, visible=0.49), False),
        (seen(1, truncated=0.5), True),
        (seen(1, truncated=0.6), False),
        (seen(1, visible=0.7, truncated=0.4), False),
        (seen(1, at=(24.0, 1.0, 31.9)), True),
        (seen(1, at=(24.0, 1.0, 32.1)), False),
        (seen(1, at=(0.0, 30.0, 39.0)), True),  # height is no distance
    ],
    ids=str,
)
def test_a_box_counts_when_half_of_it_is_seen_and_it_is_near(box: BoxTruth, counts: bool) -> None:
    assert true_boxes_2d(detections_2d([box], "camera", 5)).counted.tolist() == [counts]


def test_a_picture_of_nothing() -> None:
    truth = true_boxes_2d(detections_2d([], "camera", 5))

    assert truth.boxes.shape == (0, 4) and truth.counted.shape == (0,) and truth.class_names == ()


def test_the_visible_share_is_of_the_whole_object() -> None:
    shares = visible_shares(detections_2d([seen(3, 0.8, 0.5), seen(7)], "camera", 5))

    assert shares == pytest.approx({"3": 0.4, "7": 1.0})


@pytest.mark.parametrize(
    ("item", "visible", "counts"),
    [
        (thing(1), {"1": 0.5}, True),
        (thing(1), {"1": 0.4}, False),
        (thing(1), {}, False),
        (thing(1), {"2": 1.0}, False),
        (thing(1), None, True),
        (thing(1, 24.0, 31.9), {"1": 1.0}, True),
        (thing(1, 24.0, 32.1), {"1": 1.0}, False),
        (thing(1, 24.0, 32.1), None, False),
        (thing(1, points=1), {"1": 1.0}, True),
        (thing(1, points=0), {"1": 1.0}, False),
    ],
    ids=str,
)
def test_an_object_counts_when_camera_and_lidar_see_it_near(
    item: ObjectTruth, visible: dict[str, float] | None, counts: bool
) -> None:
    (box,) = true_boxes_3d(detections_3d([item], 5), visible)

    assert box.counted is counts and box.class_name == "car"
    np.testing.assert_allclose(box.center, item.center)
