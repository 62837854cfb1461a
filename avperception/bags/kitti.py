"""KITTI object frames into a recording: image, camera info, sweep, transforms and labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from avperception.bags import conversion, messages
from avperception.bags.conversion import BASE_FRAME, CAMERA_FRAME, LIDAR_FRAME, ConversionSummary, Progress
from avperception.bags.kitti_dataset import LIDAR_HEIGHT_M, Calibration, KittiDataset, Label
from avperception.bags.messages import Box3D, Transform
from avperception.bags.writer import BagWriter
from avperception.errors import BagError
from avperception.types import CameraModel, Float64

PERIOD_NS = 100_000_000
"""The dataset's cameras and lidar run at 10 Hz; its frames are single ones, stamped as if in sequence."""


def convert_kitti(
    source: Path, writer: BagWriter, progress: Progress = conversion.no_progress
) -> ConversionSummary:
    """Write the frames of `source` (the folder with image_2, velodyne, calib and perhaps label_2).

    All messages of a frame carry one stamp. base_link is on the ground below the lidar (REP-105), the
    camera frame optical (REP-103). Transforms are written with the first frame and when they change.
    A frame that cannot be read is left out and named in the summary; raises BagError if none can.
    """
    dataset = KittiDataset(source)
    _declare(writer, dataset.has_labels)
    failures: list[str] = []
    written: list[Transform] = []
    for index, frame in enumerate(dataset.frames):
        try:
            written = _write_frame(dataset, frame, conversion.START_NS + index * PERIOD_NS, writer, written)
        except _FrameError as error:
            failures.append(f"frame {frame}: {error}")
        progress(index + 1, len(dataset.frames))
    if len(failures) == len(dataset.frames):
        raise BagError(f"{source}: no frame can be read; {failures[0]}")
    return ConversionSummary(len(dataset.frames) - len(failures), tuple(failures))


def T_base_lidar() -> Float64:
    """The lidar stands level above base_link."""
    T = np.eye(4)
    T[2, 3] = LIDAR_HEIGHT_M
    return T


def vehicle_transforms(calibration: Calibration) -> list[Transform]:
    """Where lidar and camera are on the vehicle."""
    T_base_camera = T_base_lidar() @ np.linalg.inv(calibration.T_camera_lidar)
    return [
        Transform(BASE_FRAME, LIDAR_FRAME, T_base_lidar()),
        Transform(BASE_FRAME, CAMERA_FRAME, T_base_camera),
    ]


def label_box(label: Label, calibration: Calibration, name: str = "") -> Box3D:
    """A label as an upright box in base_link; the slight tilt of the camera against the ground is dropped."""
    T_base_camera0 = T_base_lidar() @ np.linalg.inv(calibration.T_camera0_lidar)
    center_camera0 = label.bottom - [0.0, label.size[2] / 2, 0.0]
    heading_camera0 = np.array([np.cos(label.rotation_y), 0.0, -np.sin(label.rotation_y)])
    heading = T_base_camera0[:3, :3] @ heading_camera0
    return Box3D(
        class_name=label.class_name,
        center=T_base_camera0[:3, :3] @ center_camera0 + T_base_camera0[:3, 3],
        size=label.size,
        yaw=float(np.arctan2(heading[1], heading[0])),
        id=name,
    )


class _FrameError(Exception):
    """One frame's files cannot be used."""


def _declare(writer: BagWriter, has_labels: bool) -> None:
    writer.add_topic(conversion.STATIC_TRANSFORMS_TOPIC, messages.TRANSFORMS, latched=True)
    writer.add_topic(conversion.CAMERA_INFO_TOPIC, messages.CAMERA_INFO)
    writer.add_topic(conversion.IMAGE_TOPIC, messages.IMAGE)
    writer.add_topic(conversion.POINTS_TOPIC, messages.POINT_CLOUD)
    if has_labels:
        writer.add_topic(conversion.GROUND_TRUTH_TOPIC, messages.DETECTIONS_3D)


def _write_frame(
    dataset: KittiDataset, frame: str, stamp_ns: int, writer: BagWriter, written: list[Transform]
) -> list[Transform]:
    """Write a frame, the transforms first if they are not those `written`; return the current ones."""
    try:
        pixels, points = dataset.image(frame), dataset.sweep(frame)
        calibration = dataset.calibration(frame)
        labels = dataset.labels(frame) if dataset.has_labels else []
    except BagError as error:
        raise _FrameError(str(error)) from error
    vehicle = vehicle_transforms(calibration)
    if not _same(vehicle, written):
        writer.write(conversion.STATIC_TRANSFORMS_TOPIC, stamp_ns, messages.transforms(stamp_ns, vehicle))
    height, width = pixels.shape[:2]
    camera = CameraModel(width, height, calibration.K, np.zeros(5), "plumb_bob", CAMERA_FRAME)
    writer.write(conversion.CAMERA_INFO_TOPIC, stamp_ns, messages.camera_info(stamp_ns, camera))
    writer.write(conversion.IMAGE_TOPIC, stamp_ns, messages.image(stamp_ns, CAMERA_FRAME, pixels, "bgr8"))
    columns = dict(zip(("x", "y", "z", "intensity"), points.T, strict=True))
    writer.write(conversion.POINTS_TOPIC, stamp_ns, messages.point_cloud(stamp_ns, LIDAR_FRAME, columns))
    if dataset.has_labels:
        boxes = [label_box(label, calibration, f"{frame}/{n}") for n, label in enumerate(labels)]
        writer.write(
            conversion.GROUND_TRUTH_TOPIC, stamp_ns, messages.detections_3d(stamp_ns, BASE_FRAME, boxes)
        )
    return vehicle


def _same(one: list[Transform], other: list[Transform]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a.T_parent_child, b.T_parent_child) for a, b in zip(one, other, strict=True)
    )
