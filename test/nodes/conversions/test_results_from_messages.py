"""Results read back from their own messages, for what draws them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import PointCloud2
from vision_msgs.msg import Detection2D, Detection2DArray, LabelInfo, VisionClass
from visualization_msgs.msg import Marker

from avperception.drawing.palette import class_rgb
from avperception.errors import MessageError
from avperception.nodes.conversions.clouds import labelled_cloud_message
from avperception.nodes.conversions.coloured_clouds import coloured_cloud_message
from avperception.nodes.conversions.detections import (
    detections_2d_message,
    detections_3d_message,
    label_info_message,
)
from avperception.nodes.conversions.markers import detection_markers, lane_markers
from avperception.nodes.conversions.results import (
    classes_from_message,
    detected_objects_from_message,
    detections_2d_from_message,
    lanes_from_message,
)
from avperception.types import Detection3D, Detections2D, FusedResult, LidarResult

STAMP_NS = 1_317_042_000_123_456_789
NAMES = ("person", "bicycle", "car")


def boxes_2d(boxes: np.ndarray, class_ids: list[int]) -> Detections2D:
    scores = np.linspace(0.9, 0.3, len(boxes), dtype=np.float32)
    return Detections2D(boxes.astype(np.float32), scores, np.array(class_ids, np.int32), NAMES)


def detection(**changes: object) -> Detection3D:
    values = {
        "class_id": 2,
        "class_name": "car",
        "score": 0.75,
        "center": np.array([12.0, -3.0, 0.8]),
        "size": np.array([4.2, 1.8, 1.5]),
        "yaw": 2.5,
        "covariance": np.arange(36.0).reshape(6, 6),
        "cameras": (),
        "point_indices": np.array([1, 4]),
        "track_id": 3,
        "velocity": np.array([-4.0, 1.5, 0.0]),
    }
    return Detection3D(**{**values, **changes})  # type: ignore[arg-type]


def fused(*detections: Detection3D) -> FusedResult:
    points = np.arange(30, dtype=np.float32).reshape(10, 3)
    zeros = np.zeros(10, np.float32)
    lidar = LidarResult(STAMP_NS, "lidar", points, zeros, zeros.astype(bool), zeros, np.eye(4))
    return FusedResult(STAMP_NS, "base_link", detections, lidar, (), ())


corner = st.floats(-10, 2000, width=32)


@given(st.lists(st.tuples(corner, corner, corner, corner, st.integers(0, 2)), max_size=8))
def test_2d_detections_come_back(rows: list[tuple[float, float, float, float, int]]) -> None:
    boxes = np.array([(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d, _ in rows]).reshape(-1, 4)
    sent = boxes_2d(boxes, [row[4] for row in rows])
    back = detections_2d_from_message(detections_2d_message(sent, STAMP_NS, "front_camera_optical"))
    np.testing.assert_allclose(back.boxes, sent.boxes, atol=1e-3)
    np.testing.assert_array_equal(back.scores, sent.scores)
    assert [back.class_names[i] for i in back.class_ids] == [NAMES[row[4]] for row in rows]


def test_a_2d_detection_without_a_hypothesis_is_left_out() -> None:
    assert len(detections_2d_from_message(Detection2DArray(detections=[Detection2D()]))) == 0


def test_3d_detections_come_back_with_track_and_velocity() -> None:
    car, new = detection(), detection(class_name="person", track_id=0, yaw=-1.0)
    objects = detected_objects_from_message(detections_3d_message(fused(car, new)))
    assert (objects.stamp_ns, objects.frame_id) == (STAMP_NS, "base_link")
    for back, sent in zip(objects.detections, (car, new), strict=True):
        assert (back.class_name, back.score, back.track_id) == (sent.class_name, sent.score, sent.track_id)
        np.testing.assert_array_equal(back.center, sent.center)
        np.testing.assert_array_equal(back.size, sent.size)
        np.testing.assert_array_equal(back.covariance, sent.covariance)
        assert back.yaw == pytest.approx(sent.yaw)
    np.testing.assert_array_equal(objects.detections[0].velocity, car.velocity)
    np.testing.assert_array_equal(objects.detections[1].velocity, np.zeros(3))


def test_the_likeliest_result_of_a_3d_detection_is_its_class() -> None:
    """Other nodes take the result of the highest score."""
    (item,) = detections_3d_message(fused(detection(score=0.05))).detections
    assert max(item.results, key=lambda r: r.hypothesis.score).hypothesis.class_id == "car"


def test_class_names_come_back_by_id() -> None:
    names = ("road", "lane_line", "vehicle")
    assert classes_from_message(label_info_message(names, STAMP_NS, "front")) == names
    gap = LabelInfo(class_map=[VisionClass(class_id=2, class_name="vehicle")])
    assert classes_from_message(gap) == ("", "", "vehicle")
    assert classes_from_message(LabelInfo()) == ()


def test_lanes_come_back_to_their_own_camera() -> None:
    lanes = [np.array([[1.0, 2, 0], [5, 2, 0.5]]), np.array([[1.0, -2, 0], [9, -2, 0]])]
    message = lane_markers("front", lanes, STAMP_NS, "base_link")
    back = lanes_from_message(message, "front")
    assert back is not None
    assert (back.stamp_ns, back.frame_id) == (STAMP_NS, "base_link")
    for line, sent in zip(back.lines, lanes, strict=True):
        np.testing.assert_array_equal(line, sent)
    assert lanes_from_message(message, "rear") is None


def test_an_arrow_shows_where_a_moving_object_is_in_a_second() -> None:
    moving, standing = detection(), detection(velocity=np.array([0.1, 0.0, 0.0]))
    arrows = [m for m in detection_markers(fused(moving, standing)).markers if m.type == Marker.ARROW]
    (arrow,) = (marker for marker in arrows if marker.action == Marker.ADD)
    start, end = ((point.x, point.y, point.z) for point in arrow.points)
    assert start == (12.0, -3.0, 0.8) and end == (8.0, -1.5, 0.8)
    assert (arrow.color.r, arrow.color.g, arrow.color.b) == pytest.approx(class_rgb("car"))
    assert arrow.lifetime.sec + arrow.lifetime.nanosec / 1e9 > 0


def test_points_have_the_colour_of_their_objects_class() -> None:
    result = fused(
        detection(), detection(class_name="truck", track_id=65536 + 9, point_indices=np.array([7]))
    )
    labelled = labelled_cloud_message(result)
    cloud = coloured_cloud_message(labelled, result.detections)
    assert cloud.header == labelled.header and cloud.width == 10
    assert [(field.name, field.offset) for field in cloud.fields] == [
        ("x", 0),
        ("y", 4),
        ("z", 8),
        ("rgb", 12),
    ]
    records = np.frombuffer(cloud.data, np.uint32).reshape(10, 4)
    np.testing.assert_array_equal(records[:, :3].copy().view(np.float32), result.lidar.points)
    colours = {row: tuple(round(255 * part) for part in class_rgb(name)) for row, name in
               ((1, "car"), (4, "car"), (7, "truck"))}  # fmt: skip
    for row in range(10):
        packed = int(records[row, 3])
        expected = colours.get(row, (128, 128, 128))
        assert (packed >> 16, packed >> 8 & 255, packed & 255) == expected


def test_another_cloud_cannot_be_coloured() -> None:
    with pytest.raises(MessageError, match="instance"):
        coloured_cloud_message(PointCloud2(), ())
    cut_off = labelled_cloud_message(fused())
    cut_off.data = cut_off.data[:-1]
    with pytest.raises(MessageError, match="cannot be coloured"):
        coloured_cloud_message(cut_off, ())
