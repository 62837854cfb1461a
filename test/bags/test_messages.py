from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from avperception.bags import messages, typestore
from avperception.bags.messages import Box3D, Transform
from avperception.types import CameraModel


def round_trip(message: Any) -> Any:
    """Through the wire format, so that a field of a wrong type or size shows."""
    store = typestore()
    return store.deserialize_cdr(store.serialize_cdr(message, message.__msgtype__), message.__msgtype__)


@given(st.integers(0, 2**31 * 10**9 - 1))
def test_a_stamp_keeps_every_nanosecond(stamp_ns: int) -> None:
    stamp = round_trip(messages.stamp(stamp_ns))
    assert stamp.sec * 10**9 + stamp.nanosec == stamp_ns
    assert 0 <= stamp.nanosec < 10**9


@pytest.mark.parametrize(
    ("shape", "dtype", "encoding", "step"),
    [((4, 5), "u1", "mono8", 5), ((4, 5), "u2", "mono16", 10), ((4, 5, 3), "u1", "bgr8", 15)],
)
def test_an_image_has_the_bytes_of_its_pixels(
    shape: tuple[int, ...], dtype: str, encoding: str, step: int
) -> None:
    pixels = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    image = round_trip(messages.image(12, "camera", pixels, encoding))
    assert (image.height, image.width, image.step, image.encoding) == (4, 5, step, encoding)
    assert bytes(image.data) == pixels.tobytes()
    assert (image.header.frame_id, image.header.stamp.nanosec) == ("camera", 12)


def test_an_image_can_be_a_part_of_another() -> None:
    pixels = np.arange(10 * 12 * 3, dtype=np.uint8).reshape(10, 12, 3)
    image = round_trip(messages.image(0, "camera", pixels[2:8, 3:7, ::-1], "rgb8"))
    assert image.step == 12
    assert bytes(image.data) == pixels[2:8, 3:7, ::-1].tobytes()


def test_camera_info_of_a_distorted_camera() -> None:
    K = np.array([[700.0, 0, 320], [0, 710, 240], [0, 0, 1]])
    camera = CameraModel(640, 480, K, np.array([0.1, 0.2, 0.3, 0.4, 0.5]), "plumb_bob", "optical")
    info = round_trip(messages.camera_info(0, camera))
    assert (info.width, info.height, info.distortion_model) == (640, 480, "plumb_bob")
    np.testing.assert_array_equal(info.k.reshape(3, 3), K)
    np.testing.assert_array_equal(info.p.reshape(3, 4)[:, :3], K)
    np.testing.assert_array_equal(info.p.reshape(3, 4)[:, 3], 0)
    np.testing.assert_array_equal(info.d, camera.D)
    np.testing.assert_array_equal(info.r.reshape(3, 3), np.eye(3))


def test_a_point_cloud_keeps_fields_of_any_type() -> None:
    random = np.random.default_rng(1)
    fields = {
        "x": random.normal(size=50).astype("f4"),
        "y": random.normal(size=50).astype("f4"),
        "z": random.normal(size=50).astype("f4"),
        "ring": np.arange(50, dtype="u2"),
        "time": random.normal(size=50),
    }
    cloud = round_trip(messages.point_cloud(0, "lidar", fields))
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 50, 22, 1100)
    assert [(f.name, f.offset, f.datatype) for f in cloud.fields] == [
        ("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("ring", 12, 4), ("time", 14, 8),
    ]  # fmt: skip
    assert cloud.is_dense
    points = cloud.data.view([("x", "f4"), ("y", "f4"), ("z", "f4"), ("ring", "u2"), ("time", "f8")])
    for name, column in fields.items():
        np.testing.assert_array_equal(points[name], column)


def test_a_point_cloud_says_that_it_has_points_without_a_place() -> None:
    fields = {axis: np.array([1, np.nan], "f4") for axis in "xyz"}
    assert not round_trip(messages.point_cloud(0, "lidar", fields)).is_dense


def test_an_empty_point_cloud_is_a_message() -> None:
    cloud = round_trip(messages.point_cloud(0, "lidar", {axis: np.empty(0, "f4") for axis in "xyz"}))
    assert (cloud.width, len(cloud.data)) == (0, 0)


def test_a_type_that_a_point_field_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="int64: id"):
        messages.point_cloud(
            0, "lidar", {axis: np.zeros(1, "f4") for axis in "xyz"} | {"id": np.zeros(1, "i8")}
        )


@given(
    st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1),
    st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3),
)
def test_a_transform_is_its_matrix(quaternion: list[float], translation: list[float]) -> None:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat(quaternion).as_matrix()
    T[:3, 3] = translation
    (read,) = round_trip(messages.transforms(7, [Transform("base_link", "lidar", T)])).transforms
    assert (read.header.frame_id, read.child_frame_id, read.header.stamp.nanosec) == ("base_link", "lidar", 7)
    q, t = read.transform.rotation, read.transform.translation
    np.testing.assert_allclose(Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix(), T[:3, :3], atol=1e-12)
    assert [t.x, t.y, t.z] == translation


@given(st.floats(-np.pi, np.pi))
def test_a_box_is_a_detection(yaw: float) -> None:
    box = Box3D("car", np.array([1.0, 2.0, 0.8]), np.array([4.0, 1.8, 1.6]), yaw, 0.75, "7")
    array = round_trip(messages.detections_3d(5, "base_link", [box, box]))
    first = array.detections[0]
    assert len(array.detections) == 2
    assert (array.header.frame_id, first.header.frame_id, first.id) == ("base_link", "base_link", "7")
    assert (first.results[0].hypothesis.class_id, first.results[0].hypothesis.score) == ("car", 0.75)
    assert first.results[0].pose.pose == first.bbox.center
    assert (first.bbox.size.x, first.bbox.size.y, first.bbox.size.z) == (4.0, 1.8, 1.6)
    position, q = first.bbox.center.position, first.bbox.center.orientation
    assert (position.x, position.y, position.z) == (1.0, 2.0, 0.8)
    forward = Rotation.from_quat([q.x, q.y, q.z, q.w]).apply([1.0, 0.0, 0.0])
    np.testing.assert_allclose(forward, [np.cos(yaw), np.sin(yaw), 0], atol=1e-12)
