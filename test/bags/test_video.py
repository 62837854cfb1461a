from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avperception.bags import BagReader, BagWriter, ConversionSummary, convert_video
from avperception.bags.conversion import START_NS
from avperception.bags.video import nominal_mount, pinhole
from avperception.errors import BagError, ConfigurationError


def convert(source: Path, path: Path, **options: Any) -> ConversionSummary:
    with BagWriter(path) as writer:
        return convert_video(source, writer, **options)


def read(path: Path) -> dict[str, list[tuple[int, Any]]]:
    found: dict[str, list[tuple[int, Any]]] = {}
    with BagReader(path) as bag:
        for message in bag.messages():
            found.setdefault(message.topic, []).append((message.stamp_ns, bag.deserialize(message)))
    return found


@pytest.fixture(scope="module")
def small_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven grey frames, each brighter than the one before, at 30 Hz (Motion JPEG needs no codec library)."""
    path = tmp_path_factory.mktemp("video") / "grey.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30.0, (64, 48))
    for level in range(7):
        writer.write(np.full((48, 64, 3), 30 * level + 20, np.uint8))
    writer.release()
    return path


def test_the_shared_video_is_whole(shared_dir: Path, tmp_path: Path) -> None:
    source = shared_dir / "data/video/solidWhiteRight.mp4"
    summary = convert(source, tmp_path / "v.mcap", compressed=True)
    assert summary == ConversionSummary(221)
    with BagReader(tmp_path / "v.mcap") as bag:
        counts = {topic.name: topic.message_count for topic in bag.topics}
        assert counts == {"/front/camera_info": 221, "/front/image_raw/compressed": 221, "/tf_static": 1}
        assert (bag.start_ns, bag.end_ns) == (START_NS, START_NS + 220 * 40_000_000)  # 25 Hz
        first = bag.deserialize(next(bag.messages(["/front/image_raw/compressed"])))
    assert first.format == "bgr8; jpeg compressed bgr8"
    pixels = cv2.imdecode(first.data, cv2.IMREAD_COLOR)
    _, original = cv2.VideoCapture(str(source)).read()
    assert pixels.shape == original.shape == (540, 960, 3)
    assert np.abs(pixels.astype(int) - original).mean() < 2


def test_raw_frames_are_the_decoded_pixels_at_the_videos_rate(small_video: Path, tmp_path: Path) -> None:
    assert convert(small_video, tmp_path / "v.mcap") == ConversionSummary(7)
    found = read(tmp_path / "v.mcap")
    assert set(found) == {"/tf_static", "/front/camera_info", "/front/image_raw"}
    for index, (stamp_ns, image) in enumerate(found["/front/image_raw"]):
        assert stamp_ns == START_NS + round(index * 1e9 / 30)
        assert image.header.stamp.sec * 10**9 + image.header.stamp.nanosec == stamp_ns
        assert (image.width, image.height, image.encoding) == (64, 48, "bgr8")
        np.testing.assert_allclose(image.data.mean(), 30 * index + 20, atol=2)
    infos = [info for _, info in found["/front/camera_info"]]
    headers = [image.header for _, image in found["/front/image_raw"]]
    assert [info.header for info in infos] == headers


def test_the_mount_is_a_static_transform_from_base_link(small_video: Path, tmp_path: Path) -> None:
    convert(small_video, tmp_path / "v.mcap", camera_height_m=1.2)
    ((stamp_ns, message),) = read(tmp_path / "v.mcap")["/tf_static"]
    (transform,) = message.transforms
    assert stamp_ns == START_NS
    assert (transform.header.frame_id, transform.child_frame_id) == ("base_link", "front_camera_optical")
    t, q = transform.transform.translation, transform.transform.rotation
    assert (t.x, t.y, t.z) == (0, 0, 1.2)
    # the well-known rotation from a body frame to an optical frame, roll -90 and yaw -90 degrees
    np.testing.assert_allclose(np.abs([q.x, q.y, q.z, q.w]), 0.5)
    np.testing.assert_allclose([q.x * q.w, q.y * q.w, q.z * q.w], [-0.25, 0.25, -0.25])


@given(st.integers(16, 4000), st.integers(16, 4000), st.floats(1, 179))
def test_the_image_edges_are_the_field_of_view_apart(width: int, height: int, fov_degrees: float) -> None:
    camera = pinhole(width, height, fov_degrees)
    left, right = (np.linalg.solve(camera.K, [edge, (height - 1) / 2, 1]) for edge in (-0.5, width - 0.5))
    angle = np.arctan2(right[0], 1) - np.arctan2(left[0], 1)
    np.testing.assert_allclose(np.rad2deg(angle), fov_degrees)
    assert camera.K[0, 0] == camera.K[1, 1]
    np.testing.assert_array_equal(camera.D, np.zeros(5))


@given(st.floats(0.1, 10), st.floats(-60, 60))
def test_the_optical_axis_meets_the_ground_where_the_pitch_says(height_m: float, pitch: float) -> None:
    T = nominal_mount(height_m, pitch)
    forward = T[:3, 2]
    np.testing.assert_allclose(
        forward, [np.cos(np.deg2rad(pitch)), 0, -np.sin(np.deg2rad(pitch))], atol=1e-12
    )
    np.testing.assert_allclose(T[:3, 0], [0, -1, 0], atol=1e-12)  # the image's right is the vehicle's right
    np.testing.assert_allclose(np.linalg.det(T[:3, :3]), 1)
    assert T[2, 3] == height_m


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("fov_degrees", 0.0, "field of view of 0 degrees cannot be"),
        ("fov_degrees", 180.0, "field of view of 180 degrees cannot be"),
        ("fov_degrees", float("nan"), "field of view of nan degrees cannot be"),
        ("camera_height_m", 0.0, "camera 0 m above the ground cannot be"),
        ("camera_height_m", float("inf"), "camera inf m above the ground cannot be"),
        ("camera_pitch_degrees", 90.0, "pitch of 90 degrees cannot be"),
    ],
)
def test_numbers_that_cannot_be_are_refused(
    option: str, value: float, says: str, small_video: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        convert(small_video, tmp_path / "v.mcap", **{option: value})
    assert list(tmp_path.iterdir()) == []


def test_a_video_that_was_cut_off_says_how_much_is_missing(shared_dir: Path, tmp_path: Path) -> None:
    content = (shared_dir / "data/video/solidWhiteRight.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 4])
    summary = convert(tmp_path / "cut.mp4", tmp_path / "v.mcap")
    assert 20 < summary.frames < 100
    assert summary.failures == (
        f"cut.mp4 announces 221 frames, only {summary.frames} could be decoded: it is cut off",
    )


def test_what_is_no_video_is_refused(shared_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("this is no video")
    content = (shared_dir / "data/video/solidWhiteRight.mp4").read_bytes()
    (tmp_path / "header.mp4").write_bytes(content[:10_000])
    for name, says in (
        ("notes.mp4", "notes.mp4 is not a video that OpenCV can read"),
        ("header.mp4", "header.mp4 (has no frame|is not a video)"),
        ("nothing.mp4", "nothing.mp4 is not a file"),
        ("", "is not a file"),
    ):
        with pytest.raises(BagError, match=says):
            convert(tmp_path / name, tmp_path / "v.mcap")
    assert not (tmp_path / "v.mcap").exists()
