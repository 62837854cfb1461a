"""The messages of a scene's recording: sensors as a driver sends them, and the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from avperception.bags import messages
from avperception.bags.definitions import typestore
from avperception.bags.messages import Transform
from avperception.scenes.ranging.sweep import Sweep
from avperception.scenes.rig import Rig
from avperception.scenes.scene import Frame
from avperception.scenes.solid import SEGMENTATION_CLASSES
from avperception.scenes.truth import BoxTruth, LaneTruth, ObjectTruth
from avperception.types import Float64

BASE_FRAME = "base_link"
ODOM_FRAME = "odom"

DETECTIONS_2D = "vision_msgs/msg/Detection2DArray"
LABEL_INFO = "vision_msgs/msg/LabelInfo"
MARKERS = "visualization_msgs/msg/MarkerArray"
STRING = "std_msgs/msg/String"

VISIBLE, TRUNCATED, VELOCITY, LIDAR_POINTS = "visible", "truncated", "velocity", "lidar_points"
"""Class ids of the further results of a true box: what they carry is no class (see docs/scenes.md)."""

_LINE_STRIP = 4  # constants of visualization_msgs/Marker
_ADD = 0


def topics(rig: Rig) -> Iterator[tuple[str, str, bool]]:
    """Name, type and whether it is latched, of every topic of a recording."""
    yield "/tf_static", messages.TRANSFORMS, True
    yield "/tf", messages.TRANSFORMS, False
    for camera in rig.cameras:
        yield f"/{camera.name}/camera_info", messages.CAMERA_INFO, False
        yield f"/{camera.name}/image_raw", messages.IMAGE, False
        yield f"/{camera.name}/ground_truth/detections_2d", DETECTIONS_2D, False
        yield f"/{camera.name}/ground_truth/segmentation", messages.IMAGE, False
        yield f"/{camera.name}/ground_truth/label_info", LABEL_INFO, True
    if rig.lidar is not None:
        yield "/points", messages.POINT_CLOUD, False
    yield "/ground_truth", messages.DETECTIONS_3D, False
    yield "/ground_truth/lanes", MARKERS, False
    yield "/ground_truth/condition", STRING, False


def mounts(rig: Rig, stamp_ns: int) -> Any:
    """tf2_msgs/TFMessage of where the sensors are."""
    placed = [Transform(BASE_FRAME, c.model.frame_id, c.T_base_camera) for c in rig.cameras]
    if rig.lidar is not None:
        placed.append(Transform(BASE_FRAME, rig.lidar.frame_id, rig.lidar.T_base_lidar))
    return messages.transforms(stamp_ns, placed)


def odometry(stamp_ns: int, T_odom_base: Float64) -> Any:
    """tf2_msgs/TFMessage of where the ego vehicle is."""
    return messages.transforms(stamp_ns, [Transform(ODOM_FRAME, BASE_FRAME, T_odom_base)])


def label_info(stamp_ns: int, frame_id: str) -> Any:
    """vision_msgs/LabelInfo of the true masks."""
    classes = [
        _make("vision_msgs/msg/VisionClass", class_id=number, class_name=name)
        for number, name in enumerate(SEGMENTATION_CLASSES)
    ]
    return _make(LABEL_INFO, header=_header(stamp_ns, frame_id), class_map=classes, threshold=0.0)


def frame_messages(frame: Frame, rig: Rig, stamp_ns: int) -> Iterator[tuple[str, str, Any]]:
    """Topic, type and message of everything that a frame holds, the sensors first."""
    for camera in rig.cameras:
        image = frame.images[camera.name]
        yield (
            f"/{camera.name}/camera_info",
            messages.CAMERA_INFO,
            messages.camera_info(stamp_ns, camera.model),
        )
        pixels = messages.image(stamp_ns, camera.model.frame_id, image, "bgr8")
        yield f"/{camera.name}/image_raw", messages.IMAGE, pixels
    if rig.lidar is not None and frame.sweep is not None:
        yield "/points", messages.POINT_CLOUD, point_cloud(frame.sweep, rig.lidar.frame_id, stamp_ns)
    for camera in rig.cameras:
        boxes = detections_2d(frame.boxes[camera.name], camera.model.frame_id, stamp_ns)
        yield f"/{camera.name}/ground_truth/detections_2d", DETECTIONS_2D, boxes
        mask = messages.image(stamp_ns, camera.model.frame_id, frame.segmentations[camera.name], "mono8")
        yield f"/{camera.name}/ground_truth/segmentation", messages.IMAGE, mask
    yield "/ground_truth", messages.DETECTIONS_3D, detections_3d(frame.objects, stamp_ns)
    yield "/ground_truth/lanes", MARKERS, lane_markers(frame.lanes, stamp_ns)
    yield "/ground_truth/condition", STRING, _make(STRING, data=frame.condition)


def point_cloud(sweep: Sweep, frame_id: str, stamp_ns: int) -> Any:
    """sensor_msgs/PointCloud2 with x y z intensity ring time, as Velodyne's driver lays it out."""
    columns: dict[str, NDArray[Any]] = {axis: sweep.points_lidar[:, i] for i, axis in enumerate("xyz")}
    columns |= {"intensity": sweep.intensity, "ring": sweep.ring, "time": sweep.time}
    return messages.point_cloud(stamp_ns, frame_id, columns)


def detections_3d(objects: Sequence[ObjectTruth], stamp_ns: int) -> Any:
    """vision_msgs/Detection3DArray in base_link; `id` is the track.

    results[0] is class and pose, `velocity` has m/s in its position, `lidar_points` a count as its score.
    """
    header = _header(stamp_ns, BASE_FRAME)
    return _make(
        messages.DETECTIONS_3D, header=header, detections=[_detection_3d(header, truth) for truth in objects]
    )


def detections_2d(boxes: Sequence[BoxTruth], frame_id: str, stamp_ns: int) -> Any:
    """vision_msgs/Detection2DArray; `id` is the track.

    results[0] is class and, in the camera's frame, the object's position; the scores of `visible` and
    `truncated` are shares from 0 to 1.
    """
    header = _header(stamp_ns, frame_id)
    return _make(DETECTIONS_2D, header=header, detections=[_detection_2d(header, box) for box in boxes])


def lane_markers(lanes: Sequence[LaneTruth], stamp_ns: int) -> Any:
    """visualization_msgs/MarkerArray: one LINE_STRIP a lane line, `ns` lanes/solid or lanes/dashed."""
    return _make(MARKERS, markers=[_lane_marker(lane, stamp_ns) for lane in lanes])


def _detection_3d(header: Any, truth: ObjectTruth) -> Any:
    pose = _pose(truth.center, Rotation.from_euler("z", truth.yaw))
    results = [
        _result(truth.class_name, 1.0, pose),
        _result(VELOCITY, 1.0, _pose(truth.velocity)),
        _result(LIDAR_POINTS, float(truth.lidar_points)),
    ]
    volume = _make("vision_msgs/msg/BoundingBox3D", center=pose, size=_vector("Vector3", truth.size))
    return _make(
        "vision_msgs/msg/Detection3D", header=header, results=results, bbox=volume, id=str(truth.track_id)
    )


def _detection_2d(header: Any, truth: BoxTruth) -> Any:
    x1, y1, x2, y2 = (float(v) for v in truth.box)
    middle = _make(
        "vision_msgs/msg/Pose2D",
        position=_make("vision_msgs/msg/Point2D", x=0.5 * (x1 + x2), y=0.5 * (y1 + y2)),
        theta=0.0,
    )
    results = [
        _result(truth.class_name, 1.0, _pose(truth.center_camera)),
        _result(VISIBLE, truth.visible),
        _result(TRUNCATED, truth.truncated),
    ]
    area = _make("vision_msgs/msg/BoundingBox2D", center=middle, size_x=x2 - x1, size_y=y2 - y1)
    return _make(
        "vision_msgs/msg/Detection2D", header=header, results=results, bbox=area, id=str(truth.track_id)
    )


def _result(class_id: str, score: float, pose: Any = None) -> Any:
    placed = pose if pose is not None else _pose(np.zeros(3))
    return _make(
        "vision_msgs/msg/ObjectHypothesisWithPose",
        hypothesis=_make("vision_msgs/msg/ObjectHypothesis", class_id=class_id, score=float(score)),
        pose=_make("geometry_msgs/msg/PoseWithCovariance", pose=placed, covariance=np.zeros(36)),
    )


def _lane_marker(lane: LaneTruth, stamp_ns: int) -> Any:
    return _make(
        "visualization_msgs/msg/Marker",
        header=_header(stamp_ns, BASE_FRAME),
        ns="lanes/solid" if lane.is_solid else "lanes/dashed",
        id=lane.number,
        type=_LINE_STRIP,
        action=_ADD,
        pose=_pose(np.zeros(3)),
        scale=_vector("Vector3", np.array([0.15, 0.0, 0.0])),
        color=_make("std_msgs/msg/ColorRGBA", r=0.2, g=1.0, b=0.4, a=1.0),
        lifetime=_make("builtin_interfaces/msg/Duration", sec=0, nanosec=0),
        frame_locked=False,
        points=[_vector("Point", point) for point in lane.points_base],
        colors=[],
        texture_resource="",
        texture=_make(
            "sensor_msgs/msg/CompressedImage", header=_header(0, ""), format="", data=np.zeros(0, np.uint8)
        ),
        uv_coordinates=[],
        text="",
        mesh_resource="",
        mesh_file=_make("visualization_msgs/msg/MeshFile", filename="", data=np.zeros(0, np.uint8)),
        mesh_use_embedded_materials=False,
    )


def _header(stamp_ns: int, frame_id: str) -> Any:
    return _make("std_msgs/msg/Header", stamp=messages.stamp(stamp_ns), frame_id=frame_id)


def _pose(position: Float64, rotation: Rotation | None = None) -> Any:
    x, y, z, w = (0.0, 0.0, 0.0, 1.0) if rotation is None else map(float, rotation.as_quat(canonical=True))
    return _make(
        "geometry_msgs/msg/Pose",
        position=_vector("Point", position),
        orientation=_make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
    )


def _vector(kind: str, values: Float64) -> Any:
    x, y, z = (float(value) for value in values)
    return _make(f"geometry_msgs/msg/{kind}", x=x, y=y, z=z)


def _make(msgtype: str, **fields: Any) -> Any:
    return typestore().types[msgtype](**fields)
