from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from avperception.bags import BagReader, BagWriter, ConversionSummary, convert_kitti
from avperception.bags.conversion import START_NS
from avperception.bags.kitti import T_base_lidar, label_box
from avperception.bags.kitti_dataset import KittiDataset, Label
from avperception.errors import BagError

Frame = dict[str, Any]


@pytest.fixture(scope="module")
def source(shared_dir: Path) -> Path:
    return shared_dir / "data" / "kitti" / "training"


@pytest.fixture
def source_copy(source: Path, tmp_path: Path) -> Path:
    """The dataset in a folder that a test may damage."""
    return Path(shutil.copytree(source, tmp_path / "training", copy_function=shutil.copy))


@pytest.fixture(scope="module")
def frames(source: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    """The messages of each frame by topic; /tf_static of the frame before where it did not change."""
    path = tmp_path_factory.mktemp("kitti") / "kitti.mcap"
    convert(source, path)
    found: dict[int, Frame] = {}
    with BagReader(path) as bag:
        for message in bag.messages():
            found.setdefault(message.stamp_ns, {})[message.topic] = bag.deserialize(message)
    ordered = [found[stamp] for stamp in sorted(found)]
    for before, after in pairwise(ordered):
        after.setdefault("/tf_static", before["/tf_static"])
    return ordered


def convert(source: Path, path: Path) -> ConversionSummary:
    with BagWriter(path) as writer:
        return convert_kitti(source, writer)


def matrix(transforms: Any, child: str) -> np.ndarray:
    (found,) = (t for t in transforms.transforms if t.child_frame_id == child)
    assert found.header.frame_id == "base_link"
    q, t = found.transform.rotation, found.transform.translation
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    T[:3, 3] = [t.x, t.y, t.z]
    return T


def points_of(frame: Frame) -> np.ndarray:
    return frame["/points"].data.view("<f4").reshape(-1, 4)


def project(P: np.ndarray, points: np.ndarray) -> np.ndarray:
    homogeneous = np.column_stack([points, np.ones(len(points))]) @ P.T
    return homogeneous[:, :2] / homogeneous[:, 2:]


def raw_projection(source: Path, frame: str) -> np.ndarray:
    """P2 R0_rect Tr_velo_to_cam, straight from the file as the dataset's devkit does it."""
    rows = dict(line.split(":") for line in (source / f"calib/{frame}.txt").read_text().splitlines() if line)
    P2, R0, Tr = (np.array(rows[key].split(), float) for key in ("P2", "R0_rect", "Tr_velo_to_cam"))
    R4, T4 = np.eye(4), np.eye(4)
    R4[:3, :3], T4[:3] = R0.reshape(3, 3), Tr.reshape(3, 4)
    return P2.reshape(3, 4) @ R4 @ T4


def test_every_frame_has_its_messages_at_its_stamp(frames: list[Frame]) -> None:
    assert len(frames) == 3
    for index, frame in enumerate(frames):
        assert set(frame) == {
            "/tf_static", "/front/camera_info", "/front/image_raw", "/points", "/ground_truth",
        }  # fmt: skip
        for topic, frame_id in (
            ("/front/camera_info", "front_camera_optical"),
            ("/front/image_raw", "front_camera_optical"),
            ("/points", "lidar"),
            ("/ground_truth", "base_link"),
        ):
            header = frame[topic].header
            assert header.frame_id == frame_id
            assert header.stamp.sec * 10**9 + header.stamp.nanosec == START_NS + index * 10**8


def test_the_transforms_come_first_and_are_latched(source: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "kitti.mcap")
    with BagReader(tmp_path / "kitti.mcap") as bag:
        assert [topic.name for topic in bag.topics if topic.latched] == ["/tf_static"]
        order = [message.topic for message in bag.messages()]
    assert order[:3] == ["/tf_static", "/front/camera_info", "/front/image_raw"]
    # 000000 was taken on another day than 000001 and 000002, which share their calibration
    assert [index for index, topic in enumerate(order) if topic == "/tf_static"] == [0, 5]


def test_images_keep_the_size_and_pixels_of_their_frame(source: Path, frames: list[Frame]) -> None:
    sizes = [(f["/front/image_raw"].width, f["/front/image_raw"].height) for f in frames]
    assert sizes == [(1224, 370), (1242, 375), (1242, 375)]
    for frame, name in zip(frames, ("000000", "000001", "000002"), strict=True):
        image, info = frame["/front/image_raw"], frame["/front/camera_info"]
        assert (info.width, info.height) == (image.width, image.height)
        assert image.encoding == "bgr8"
        pixels = KittiDataset(source).image(name)
        assert bytes(image.data) == pixels.tobytes()


def test_sweeps_keep_every_point(source: Path, frames: list[Frame]) -> None:
    for frame, name in zip(frames, ("000000", "000001", "000002"), strict=True):
        cloud = frame["/points"]
        assert [field.name for field in cloud.fields] == ["x", "y", "z", "intensity"]
        assert cloud.point_step == 16
        assert bytes(cloud.data) == (source / f"velodyne/{name}.bin").read_bytes()


@pytest.mark.parametrize("name", ["000000", "000001", "000002"])
def test_the_extrinsics_reproduce_the_projection_of_the_dataset(source: Path, name: str) -> None:
    dataset = KittiDataset(source)
    calibration = dataset.calibration(name)
    points = dataset.sweep(name)[:, :3].astype(float)
    points = points[points[:, 0] > 1]
    ours = calibration.K @ calibration.T_camera_lidar[:3]
    expected = project(raw_projection(source, name), points)
    np.testing.assert_allclose(project(ours, points), expected, rtol=0, atol=1e-6)


def test_the_recorded_transforms_reproduce_the_projection(source: Path, frames: list[Frame]) -> None:
    """To 0.01 pixels: a quaternion cannot hold the 1e-7 by which the printed rotations are not rotations."""
    for frame, name in zip(frames, ("000000", "000001", "000002"), strict=True):
        T_base_camera = matrix(frame["/tf_static"], "front_camera_optical")
        T_camera_lidar = np.linalg.inv(T_base_camera) @ matrix(frame["/tf_static"], "lidar")
        K = frame["/front/camera_info"].k.reshape(3, 3)
        points = points_of(frame)[:, :3].astype(float)
        points = points[points[:, 0] > 3]
        expected = project(raw_projection(source, name), points)
        seen = (np.abs(expected - [620, 187]) < [620, 187]).all(axis=1)
        ours = project(K @ T_camera_lidar[:3], points)
        np.testing.assert_allclose(ours[seen], expected[seen], rtol=0, atol=0.01)


def test_base_link_is_on_the_ground(frames: list[Frame]) -> None:
    for frame in frames:
        T = matrix(frame["/tf_static"], "lidar")
        points = points_of(frame)[:, :3].astype(float) @ T[:3, :3].T + T[:3, 3]
        ahead = (np.abs(points[:, 1]) < 3) & (points[:, 0] > 5) & (points[:, 0] < 15)
        assert abs(np.percentile(points[ahead, 2], 20)) < 0.15


def test_the_camera_looks_ahead_from_where_the_dataset_says_it_is(frames: list[Frame]) -> None:
    """Geiger 2013, figure 3: 0.27 m ahead of the Velodyne, 1.65 m high, camera 2 left of camera 0 by 6 cm."""
    for frame in frames:
        T = matrix(frame["/tf_static"], "front_camera_optical")
        np.testing.assert_allclose(T[:3, 3], [0.27, 0.06, 1.65], atol=0.07)
        np.testing.assert_allclose(T[:3, 2], [1, 0, 0], atol=0.02)
        np.testing.assert_allclose(T[:3, 1], [0, 0, -1], atol=0.02)


def test_the_pedestrian_of_the_first_frame(frames: list[Frame]) -> None:
    """Label: 8.41 m ahead of camera 0, 1.84 m to its right, walking to the right of the image."""
    (detection,) = frames[0]["/ground_truth"].detections
    assert detection.results[0].hypothesis.class_id == "pedestrian"
    position, size = detection.bbox.center.position, detection.bbox.size
    np.testing.assert_allclose([position.x, position.y], [8.41 + 0.33, -1.84], atol=0.05)
    np.testing.assert_allclose(position.z, 1.89 / 2, atol=0.15)
    assert (size.x, size.y, size.z) == (1.20, 0.48, 1.89)
    yaw = 2 * np.arctan2(detection.bbox.center.orientation.z, detection.bbox.center.orientation.w)
    np.testing.assert_allclose(np.rad2deg(yaw), -90, atol=2)


def test_the_boxes_lie_where_the_image_labels_are(source: Path, frames: list[Frame]) -> None:
    for frame, name in zip(frames, ("000000", "000001", "000002"), strict=True):
        labelled = [
            np.array(line.split()[4:8], float)
            for line in (source / f"label_2/{name}.txt").read_text().splitlines()
            if not line.startswith("DontCare")
        ]
        T_camera_base = np.linalg.inv(matrix(frame["/tf_static"], "front_camera_optical"))
        P = frame["/front/camera_info"].k.reshape(3, 3) @ T_camera_base[:3]
        assert len(labelled) == len(frame["/ground_truth"].detections)
        for detection, box in zip(frame["/ground_truth"].detections, labelled, strict=True):
            pixels = project(P, corners(detection))
            found = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)])
            np.testing.assert_allclose(found, box, atol=4 + 0.05 * (box[3] - box[1]))


def corners(detection: Any) -> np.ndarray:
    box = detection.bbox
    q, t = box.center.orientation, box.center.position
    signs = np.array(np.meshgrid([-0.5, 0.5], [-0.5, 0.5], [-0.5, 0.5])).reshape(3, -1).T
    turned = Rotation.from_quat([q.x, q.y, q.z, q.w]).apply(signs * [box.size.x, box.size.y, box.size.z])
    return turned + [t.x, t.y, t.z]


def test_lidar_points_fill_the_boxes_that_are_near(frames: list[Frame]) -> None:
    counts = []
    for frame in frames:
        T = matrix(frame["/tf_static"], "lidar")
        points = points_of(frame)[:, :3].astype(float) @ T[:3, :3].T + T[:3, 3]
        for detection in frame["/ground_truth"].detections:
            q, t = detection.bbox.center.orientation, detection.bbox.center.position
            local = Rotation.from_quat([q.x, q.y, q.z, q.w]).inv().apply(points - [t.x, t.y, t.z])
            size = detection.bbox.size
            counts.append(int((np.abs(local) < np.array([size.x, size.y, size.z]) / 2).all(axis=1).sum()))
    # pedestrian 9 m; truck 70 m, car 59 m, cyclist 46 m; trailer 9 m, car 35 m
    assert counts[0] > 300
    assert counts[4] > 1000
    assert min(counts) > 5


def test_class_names_are_the_datasets_own(frames: list[Frame]) -> None:
    names = [[d.results[0].hypothesis.class_id for d in f["/ground_truth"].detections] for f in frames]
    assert names == [["pedestrian"], ["truck", "car", "cyclist"], ["misc", "car"]]
    ids = [d.id for f in frames for d in f["/ground_truth"].detections]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("turn", [-3.0, -1.5, 0.0, 0.4, 2.0])
def test_a_label_turns_about_the_cameras_downward_axis(source: Path, turn: float) -> None:
    """rotation_y = 0 heads to the right of the image, and grows from right towards the camera."""
    calibration = KittiDataset(source).calibration("000000")
    box = label_box(Label("car", np.array([0, 1.7, 20]), np.array([4, 2, 1.5]), turn), calibration)
    expected = -np.pi / 2 - turn
    difference = (box.yaw - expected + np.pi) % (2 * np.pi) - np.pi
    assert abs(difference) < 0.03
    np.testing.assert_array_equal(T_base_lidar()[:3, 3], [0, 0, 1.73])


def test_converting_twice_gives_the_same_messages(source: Path, tmp_path: Path) -> None:
    read = []
    for name in ("a.mcap", "b.mcap"):
        convert(source, tmp_path / name)
        with BagReader(tmp_path / name) as bag:
            read.append(list(bag.messages()))
    assert read[0] == read[1]


def test_without_labels_there_is_no_ground_truth(source_copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(source_copy / "label_2")
    assert convert(source_copy, tmp_path / "k.mcap") == ConversionSummary(3)
    with BagReader(tmp_path / "k.mcap") as bag:
        assert "/ground_truth" not in {topic.name for topic in bag.topics}


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size]) and None


def _write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_remove("image_2/000001.png"), "image_2/000001.png cannot be read (No such file"),
        (_remove("velodyne/000001.bin"), "velodyne/000001.bin cannot be read (No such file"),
        (_remove("calib/000001.txt"), "calib/000001.txt cannot be read (No such file"),
        (_remove("label_2/000001.txt"), "label_2/000001.txt cannot be read (No such file"),
        (_cut("image_2/000001.png", 20_000), "image_2/000001.png is not a whole PNG image"),
        (_cut("image_2/000001.png", 0), "image_2/000001.png is not a whole PNG image"),
        (_cut("velodyne/000001.bin", 1001), "velodyne/000001.bin has 1001 bytes, no whole number"),
        (_cut("velodyne/000001.bin", 0), "velodyne/000001.bin has 0 bytes"),
        (_write("calib/000001.txt", "P0: 1 2 3\n"), "calib/000001.txt has no P2"),
        (_write("calib/000001.txt", "P2: 1 2 3\n"), "calib/000001.txt is malformed (cannot reshape"),
        (_write("label_2/000001.txt", "\nCar 0 0 here\n"), "label_2/000001.txt:2 is malformed (could not"),
        (_write("label_2/000001.txt", "Car 0 0 1\n"), "label_2/000001.txt:1 is malformed: a class and 14"),
    ],
)
def test_a_frame_that_cannot_be_read_is_left_out_and_named(
    damage: Callable[[Path], None], says: str, source_copy: Path, tmp_path: Path
) -> None:
    damage(source_copy)
    summary = convert(source_copy, tmp_path / "k.mcap")
    assert summary.frames == 2
    assert len(summary.failures) == 1
    assert summary.failures[0].startswith(f"frame 000001: {says}")
    assert "\n" not in summary.failures[0]
    with BagReader(tmp_path / "k.mcap") as bag:
        stamps = [message.stamp_ns for message in bag.messages(["/front/image_raw"])]
    assert stamps == [START_NS, START_NS + 2 * 10**8]


def test_a_singular_camera_matrix_is_malformed(source_copy: Path) -> None:
    text = (source_copy / "calib/000000.txt").read_text().replace("7.070493000000e+02", "0")
    (source_copy / "calib/000000.txt").write_text(text)
    with pytest.raises(BagError, match=r"calib/000000.txt is malformed \(Singular"):
        KittiDataset(source_copy).calibration("000000")


def test_no_frame_at_all_is_an_error(source_copy: Path, tmp_path: Path) -> None:
    for path in (source_copy / "calib").iterdir():
        path.write_text("")
    with pytest.raises(BagError, match=r"no frame can be read; frame 000000: calib/000000\.txt has no P2"):
        convert(source_copy, tmp_path / "k.mcap")
    assert not (tmp_path / "k.mcap").exists()


def test_a_folder_that_is_not_kitti_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BagError, match="is not a folder"):
        KittiDataset(tmp_path / "nothing")
    with pytest.raises(BagError, match=r"has no image_2, velodyne, calib: .* such as kitti/training"):
        KittiDataset(source.parent)
    for name in ("image_2", "velodyne", "calib"):
        (tmp_path / name).mkdir()
    with pytest.raises(BagError, match="holds no frame"):
        KittiDataset(tmp_path)
