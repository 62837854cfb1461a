"""Real sweeps with the labelled 2D boxes, so that only fusion is judged, against the labelled 3D boxes."""

from __future__ import annotations

import numpy as np
import pytest
from builders import angle_between, camera_result, detections_2d

from avperception.bags.kitti_dataset import KittiDataset
from avperception.pipeline.fusion import CameraView, FusionSettings, fuse
from avperception.pipeline.lidar import LidarPipeline, LidarSettings
from avperception.types import CameraModel, Detection3D, LidarResult, PointCloud

CASES = [
    # frame, label, name as a COCO detector gives it, tolerance [m]
    ("000000", "pedestrian", "person", 0.5),
    ("000001", "cyclist", "cyclist", 1.0),
    ("000002", "car", "car", 1.0),
]


def prepared(kitti: KittiDataset, frame: str, mount: np.ndarray) -> LidarResult:
    sweep = kitti.sweep(frame)
    cloud = PointCloud(np.ascontiguousarray(sweep[:, :3]), np.ascontiguousarray(sweep[:, 3]), 1, "velodyne")
    return LidarPipeline(LidarSettings()).process(cloud, mount)


def labelled_boxes(kitti: KittiDataset, frame: str) -> dict[str, np.ndarray]:
    """The 2D box of each class, columns 5 to 8; in these frames a class that is asked for is there once."""
    lines = (kitti.folder / "label_2" / f"{frame}.txt").read_text().splitlines()
    rows = [line.split() for line in lines if not line.startswith("DontCare")]
    return {row[0].lower(): np.array(row[4:8], float) for row in rows}


def lift(
    kitti: KittiDataset, frame: str, mount: np.ndarray, box: np.ndarray, name: str
) -> tuple[Detection3D, ...]:
    calibration = kitti.calibration(frame)
    height, width = kitti.image(frame).shape[:2]
    camera = CameraModel(width, height, calibration.K, np.zeros(0), "plumb_bob", "camera")
    T_camera_base = calibration.T_camera_lidar @ np.linalg.inv(mount)
    result = camera_result("front", 1, detections_2d([box], [name]), (width, height))
    lidar = prepared(kitti, frame, mount)
    return fuse(lidar, [CameraView(result, camera, T_camera_base)], FusionSettings())


def true_center(kitti: KittiDataset, frame: str, mount: np.ndarray, label: str) -> tuple[np.ndarray, float]:
    """Centre and yaw of a labelled box in base_link."""
    (found,) = (entry for entry in kitti.labels(frame) if entry.class_name == label)
    T_base_camera0 = mount @ np.linalg.inv(kitti.calibration(frame).T_camera0_lidar)
    center = found.bottom - [0, found.size[2] / 2, 0]
    heading = np.array([np.cos(found.rotation_y), 0, -np.sin(found.rotation_y)])
    along = T_base_camera0[:3, :3] @ heading
    return T_base_camera0[:3, :3] @ center + T_base_camera0[:3, 3], float(np.arctan2(along[1], along[0]))


@pytest.mark.parametrize(("frame", "label", "name", "tolerance"), CASES)
def test_a_labelled_object_is_lifted_to_its_labelled_place(
    frame: str, label: str, name: str, tolerance: float, kitti: KittiDataset, kitti_mount: np.ndarray
) -> None:
    box = labelled_boxes(kitti, frame)[label]

    (detection,) = lift(kitti, frame, kitti_mount, box, name)

    center, yaw = true_center(kitti, frame, kitti_mount, label)
    error = detection.center - center
    assert np.linalg.norm(error) < tolerance
    spread = detection.covariance[:2, :2]
    assert error[:2] @ np.linalg.solve(spread, error[:2]) < 9
    if label == "car":
        assert angle_between(detection.yaw, yaw) < np.radians(15)


@pytest.mark.parametrize("shift", [(-0.08, 0), (0.08, 0), (0, -0.05), (0, 0.05), (0.05, 0.05)])
def test_a_loose_2d_box_moves_the_pedestrian_little(
    shift: tuple[float, float], kitti: KittiDataset, kitti_mount: np.ndarray
) -> None:
    """Detectors' boxes are off by a few per cent of their size."""
    box = labelled_boxes(kitti, "000000")["pedestrian"]
    size = np.tile(box[2:] - box[:2], 2)

    (detection,) = lift(kitti, "000000", kitti_mount, box + np.tile(shift, 2) * size, "person")

    center, _ = true_center(kitti, "000000", kitti_mount, "pedestrian")
    assert np.linalg.norm(detection.center - center) < 0.5
