"""What goes out: results as vision_msgs, labelled clouds and markers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from visualization_msgs.msg import Marker

from avperception.nodes.conversions.clouds import cloud_from_message, labelled_cloud_message
from avperception.nodes.conversions.detections import (
    detections_2d_message,
    detections_3d_message,
    label_info_message,
)
from avperception.nodes.conversions.headers import duration_message, header_message, stamp_ns, time_message
from avperception.nodes.conversions.markers import detection_markers, lane_markers
from avperception.types import CameraResult, Detection3D, Detections2D, FusedResult, LidarResult

STAMP_NS = 1_317_042_000_123_456_789


@pytest.fixture
def camera_result() -> CameraResult:
    detections = Detections2D(
        boxes=np.array([[10, 20, 110, 60], [0, 0.5, 4, 8]], np.float32),
        scores=np.array([0.9, 0.25], np.float32),
        class_ids=np.array([2, 0], np.int32),
        class_names=("person", "bicycle", "car"),
    )
    return CameraResult(
        camera="front",
        stamp_ns=STAMP_NS,
        frame_id="front_camera_optical",
        width=640,
        height=480,
        detections=detections,
        segmentation=None,
        segmentation_classes=(),
        lanes=(),
    )


@pytest.fixture
def fused() -> FusedResult:
    points = np.arange(30, dtype=np.float32).reshape(10, 3)
    lidar = LidarResult(
        stamp_ns=STAMP_NS,
        frame_id="lidar",
        points=points,
        intensity=np.linspace(0, 1, 10, dtype=np.float32),
        is_ground=np.zeros(10, bool),
        ground_height=np.zeros(10, np.float32),
        T_target_lidar=np.eye(4),
    )
    car = Detection3D(
        class_id=2,
        class_name="car",
        score=0.75,
        center=np.array([12.0, -3.0, 0.8]),
        size=np.array([4.2, 1.8, 1.5]),
        yaw=2.5,
        covariance=np.arange(36, dtype=np.float64).reshape(6, 6),
        cameras=("front",),
        point_indices=np.array([1, 4, 7]),
        track_id=3,
    )
    person = replace(
        car, class_id=0, class_name="person", point_indices=np.array([2]), track_id=65536 + 5, yaw=0.0
    )
    return FusedResult(STAMP_NS, "base_link", (car, person), lidar, (), ())


@pytest.mark.parametrize("nanoseconds", [1, 999_999_999, 10**9, STAMP_NS, 2**31 * 10**9 - 1, -1, -(10**9)])
def test_a_stamp_survives_to_the_last_nanosecond(nanoseconds: int):
    assert stamp_ns(header_message(nanoseconds, "map")) == nanoseconds
    assert time_message(nanoseconds).nanosec < 10**9
    assert duration_message(nanoseconds).sec * 10**9 + duration_message(nanoseconds).nanosec == nanoseconds


def test_2d_detections_keep_the_images_header_and_pixels(camera_result: CameraResult):
    message = detections_2d_message(camera_result.detections, camera_result.stamp_ns, camera_result.frame_id)
    for header in [message.header, *(item.header for item in message.detections)]:
        assert (stamp_ns(header), header.frame_id) == (STAMP_NS, "front_camera_optical")
    car, person = message.detections
    assert [item.results[0].hypothesis.class_id for item in (car, person)] == ["car", "person"]
    assert [item.results[0].hypothesis.score for item in (car, person)] == pytest.approx([0.9, 0.25])
    centre = car.bbox.center.position
    assert (centre.x, centre.y, car.bbox.size_x, car.bbox.size_y) == (60.0, 40.0, 100.0, 40.0)
    centre = person.bbox.center.position
    assert (centre.x, centre.y, person.bbox.size_x, person.bbox.size_y) == (2.0, 4.25, 4.0, 7.5)


def test_3d_detections_say_the_target_frame_the_sweeps_stamp_and_the_track(fused: FusedResult):
    message = detections_3d_message(fused)
    for header in [message.header, *(item.header for item in message.detections)]:
        assert (stamp_ns(header), header.frame_id) == (STAMP_NS, "base_link")
    assert [item.id for item in message.detections] == ["3", str(65536 + 5)]
    car = message.detections[0]
    assert (car.results[0].hypothesis.class_id, car.results[0].hypothesis.score) == ("car", 0.75)
    assert (car.bbox.size.x, car.bbox.size.y, car.bbox.size.z) == (4.2, 1.8, 1.5)
    for pose in (car.bbox.center, car.results[0].pose.pose):
        assert (pose.position.x, pose.position.y, pose.position.z) == (12.0, -3.0, 0.8)
        q = pose.orientation
        yaw, pitch, roll = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_euler("ZYX")
        assert (yaw, pitch, roll) == pytest.approx((2.5, 0.0, 0.0))


def test_covariance_is_row_major_over_x_y_z_roll_pitch_yaw(fused: FusedResult):
    """As geometry_msgs/PoseWithCovariance has it."""
    message = detections_3d_message(fused)
    np.testing.assert_array_equal(message.detections[0].results[0].pose.covariance, np.arange(36.0))
    transposed = replace(fused.detections[0], covariance=fused.detections[0].covariance.T)
    message = detections_3d_message(replace(fused, detections=(transposed,)))
    covariance = np.array(message.detections[0].results[0].pose.covariance).reshape(6, 6)
    np.testing.assert_array_equal(covariance, np.arange(36.0).reshape(6, 6).T)


def test_nothing_found_is_a_message_without_detections(fused: FusedResult):
    message = detections_3d_message(replace(fused, detections=()))
    assert message.detections == [] and stamp_ns(message.header) == STAMP_NS


def test_label_info_names_every_class_id():
    message = label_info_message(("background", "drivable", "lane"), STAMP_NS, "front_camera_optical")
    assert [(entry.class_id, entry.class_name) for entry in message.class_map] == [
        (0, "background"), (1, "drivable"), (2, "lane")
    ]  # fmt: skip
    assert (stamp_ns(message.header), message.header.frame_id) == (STAMP_NS, "front_camera_optical")


def test_a_labelled_cloud_has_the_fields_of_the_interface(fused: FusedResult):
    message = labelled_cloud_message(fused)
    fields = {field.name: (field.offset, field.datatype, field.count) for field in message.fields}
    float32, uint8, uint16 = 7, 2, 4  # sensor_msgs/PointField
    assert fields == {
        "x": (0, float32, 1), "y": (4, float32, 1), "z": (8, float32, 1), "intensity": (12, float32, 1),
        "class": (16, uint8, 1), "instance": (17, uint16, 1),
    }  # fmt: skip
    assert (message.height, message.width, message.point_step) == (1, 10, 19)
    assert message.row_step == len(message.data) == 190
    assert (stamp_ns(message.header), message.header.frame_id) == (STAMP_NS, "base_link")


def test_a_labelled_cloud_reads_back_with_each_points_object(fused: FusedResult):
    message = labelled_cloud_message(fused)
    cloud = cloud_from_message(message)
    np.testing.assert_array_equal(cloud.points_lidar, fused.lidar.points)
    np.testing.assert_array_equal(cloud.intensity, fused.lidar.intensity)
    raw = np.frombuffer(message.data, np.uint8).reshape(10, 19)
    assert raw[:, 16].tolist() == [255, 2, 0, 255, 2, 255, 255, 2, 255, 255]
    instance = raw[:, 17:19].copy().view("<u2").reshape(-1)
    assert instance.tolist() == [0, 3, 5, 0, 3, 0, 0, 3, 0, 0]


def test_a_labelled_cloud_without_points(fused: FusedResult):
    empty = replace(fused.lidar, points=np.zeros((0, 3), np.float32), intensity=np.zeros(0, np.float32))
    message = labelled_cloud_message(replace(fused, lidar=empty, detections=()))
    assert message.width == 0 and len(message.data) == 0 and len(message.fields) == 6


def test_markers_first_delete_all_and_none_stays_for_ever(fused: FusedResult):
    markers = detection_markers(fused).markers
    assert markers[0].action == Marker.DELETEALL
    assert [marker.action for marker in markers[1:]] == [Marker.ADD] * 4
    for marker in markers[1:]:
        seconds = marker.lifetime.sec + marker.lifetime.nanosec / 1e9
        assert 0.1 <= seconds <= 2.0
        assert (stamp_ns(marker.header), marker.header.frame_id) == (STAMP_NS, "base_link")
    assert len({(marker.ns, marker.id) for marker in markers[1:]}) == 4
    assert detection_markers(replace(fused, detections=())).markers[0].action == Marker.DELETEALL


def test_a_box_marker_is_the_detection_and_its_label_stands_above(fused: FusedResult):
    _, box, label, *_ = detection_markers(fused).markers
    assert box.type == Marker.CUBE
    assert (box.pose.position.x, box.pose.position.y, box.pose.position.z) == (12.0, -3.0, 0.8)
    assert (box.scale.x, box.scale.y, box.scale.z) == (4.2, 1.8, 1.5)
    assert 2 * math.atan2(box.pose.orientation.z, box.pose.orientation.w) == pytest.approx(2.5)
    assert 0 < box.color.a < 1
    assert label.type == Marker.TEXT_VIEW_FACING and "car" in label.text and "0.75" in label.text
    assert label.pose.position.z > 0.8 + 1.5 / 2 and label.color.a == 1.0


def test_lane_markers_are_line_strips_of_their_camera():
    lanes = [np.array([[1.0, 2, 0], [5, 2, 0.1]]), np.array([[1.0, -2, 0], [5, -2, 0], [9, -2, 0]])]
    markers = lane_markers("front", lanes, STAMP_NS, "base_link").markers
    strips = [marker for marker in markers if marker.action == Marker.ADD]
    assert [marker.type for marker in strips] == [Marker.LINE_STRIP] * 2
    assert [len(marker.points) for marker in strips] == [2, 3]
    assert (strips[0].points[1].x, strips[0].points[1].y, strips[0].points[1].z) == (5.0, 2.0, 0.1)
    others = lane_markers("rear", lanes, STAMP_NS, "base_link").markers
    assert not {(m.ns, m.id) for m in strips} & {(m.ns, m.id) for m in others if m.action == Marker.ADD}
    for marker in strips:
        assert marker.scale.x > 0 and marker.color.a > 0
        assert marker.lifetime.sec + marker.lifetime.nanosec / 1e9 > 0
        # rviz refuses a quaternion of zero length
        assert marker.pose.orientation.w == 1.0
