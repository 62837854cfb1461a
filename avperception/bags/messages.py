"""Messages of a recording, made from NumPy arrays; the objects are those of rosbags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from avperception.bags.definitions import typestore
from avperception.types import CameraModel, Float64

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
TRANSFORMS = "tf2_msgs/msg/TFMessage"
DETECTIONS_3D = "vision_msgs/msg/Detection3DArray"

POINT_FIELD_TYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
"""Constants of sensor_msgs/PointField by NumPy's kind and size."""


@dataclass(frozen=True)
class Transform:
    """Pose of frame `child` in frame `parent`: `T_parent_child` is (4, 4) float64."""

    parent: str
    child: str
    T_parent_child: Float64


@dataclass(frozen=True)
class Box3D:
    """One object as a recording holds it: centre (3,) and size (3,) length, width, height in metres.

    `yaw` turns x towards y, radians; `id` is the same for the same object over time, or empty.
    """

    class_name: str
    center: Float64
    size: Float64
    yaw: float
    score: float = 1.0
    id: str = ""


def image(stamp_ns: int, frame_id: str, pixels: NDArray[Any], encoding: str) -> Any:
    """sensor_msgs/Image of `pixels`, (height, width) or (height, width, channels) uint8 or uint16."""
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).reshape(height, -1)
    return _message(
        IMAGE,
        header=_header(stamp_ns, frame_id),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=rows.shape[1] * rows.itemsize,
        data=rows.reshape(-1).view(np.uint8),
    )


def compressed_image(stamp_ns: int, frame_id: str, data: bytes | NDArray[np.uint8], format_: str) -> Any:
    """sensor_msgs/CompressedImage; `format_` as image_transport has it: `bgr8; jpeg compressed bgr8`."""
    return _message(
        COMPRESSED_IMAGE,
        header=_header(stamp_ns, frame_id),
        format=format_,
        data=np.frombuffer(data, np.uint8),
    )


def camera_info(stamp_ns: int, camera: CameraModel) -> Any:
    """sensor_msgs/CameraInfo (REP-104) of a camera without rectification: R is identity, P is [K | 0]."""
    return _message(
        CAMERA_INFO,
        header=_header(stamp_ns, camera.frame_id),
        height=camera.height,
        width=camera.width,
        distortion_model=camera.distortion_model,
        d=np.asarray(camera.D, np.float64),
        k=np.asarray(camera.K, np.float64).reshape(9),
        r=np.eye(3).reshape(9),
        p=np.column_stack([camera.K, np.zeros(3)]).reshape(12),
        binning_x=0,
        binning_y=0,
        roi=_message(
            "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        ),
    )


def point_cloud(stamp_ns: int, frame_id: str, fields: Mapping[str, NDArray[Any]]) -> Any:
    """sensor_msgs/PointCloud2, one row, no padding: `fields` name (N,) columns such as x y z intensity ring.

    The order of the fields and their types are those given; raises ValueError for a type that
    PointField has not.
    """
    columns = {name: np.asarray(column) for name, column in fields.items()}
    layout = np.dtype([(name, column.dtype.newbyteorder("<")) for name, column in columns.items()])
    points = np.empty(len(next(iter(columns.values()))), layout)
    for name, column in columns.items():
        points[name] = column
    finite = all(np.isfinite(columns[axis]).all() for axis in "xyz")
    return _message(
        POINT_CLOUD,
        header=_header(stamp_ns, frame_id),
        height=1,
        width=len(points),
        fields=[_point_field(name, layout) for name in columns],
        is_bigendian=False,
        point_step=layout.itemsize,
        row_step=layout.itemsize * len(points),
        data=points.view(np.uint8).reshape(-1),
        is_dense=bool(finite),
    )


def transforms(stamp_ns: int, values: Iterable[Transform]) -> Any:
    """tf2_msgs/TFMessage; each rotation is the one nearest to its matrix."""
    return _message(TRANSFORMS, transforms=[_transform(stamp_ns, value) for value in values])


def detections_3d(stamp_ns: int, frame_id: str, boxes: Sequence[Box3D]) -> Any:
    """vision_msgs/Detection3DArray; the class id of a result is the class's name."""
    header = _header(stamp_ns, frame_id)
    return _message(DETECTIONS_3D, header=header, detections=[_detection_3d(header, box) for box in boxes])


def stamp(stamp_ns: int) -> Any:
    """builtin_interfaces/Time of integer nanoseconds."""
    seconds, nanoseconds = divmod(int(stamp_ns), 1_000_000_000)
    return _message("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)


def _message(msgtype: str, **fields: Any) -> Any:
    return typestore().types[msgtype](**fields)


def _header(stamp_ns: int, frame_id: str) -> Any:
    return _message("std_msgs/msg/Header", stamp=stamp(stamp_ns), frame_id=frame_id)


def _point_field(name: str, layout: np.dtype[Any]) -> Any:
    assert layout.fields is not None
    dtype, offset = layout.fields[name][:2]
    kind = f"{dtype.kind}{dtype.itemsize}"
    if kind not in POINT_FIELD_TYPES:
        raise ValueError(f"a point field cannot hold {dtype}: {name}")
    return _message(
        "sensor_msgs/msg/PointField", name=name, offset=offset, datatype=POINT_FIELD_TYPES[kind], count=1
    )


def _transform(stamp_ns: int, value: Transform) -> Any:
    return _message(
        "geometry_msgs/msg/TransformStamped",
        header=_header(stamp_ns, value.parent),
        child_frame_id=value.child,
        transform=_message(
            "geometry_msgs/msg/Transform",
            translation=_vector("Vector3", value.T_parent_child[:3, 3]),
            rotation=_quaternion(Rotation.from_matrix(value.T_parent_child[:3, :3])),
        ),
    )


def _detection_3d(header: Any, box: Box3D) -> Any:
    pose = _message(
        "geometry_msgs/msg/Pose",
        position=_vector("Point", box.center),
        orientation=_quaternion(Rotation.from_euler("z", box.yaw)),
    )
    result = _message(
        "vision_msgs/msg/ObjectHypothesisWithPose",
        hypothesis=_message(
            "vision_msgs/msg/ObjectHypothesis", class_id=box.class_name, score=float(box.score)
        ),
        pose=_message("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36)),
    )
    volume = _message("vision_msgs/msg/BoundingBox3D", center=pose, size=_vector("Vector3", box.size))
    return _message("vision_msgs/msg/Detection3D", header=header, results=[result], bbox=volume, id=box.id)


def _vector(kind: str, values: Float64) -> Any:
    x, y, z = (float(value) for value in values)
    return _message(f"geometry_msgs/msg/{kind}", x=x, y=y, z=z)


def _quaternion(rotation: Rotation) -> Any:
    x, y, z, w = (float(value) for value in rotation.as_quat(canonical=True))
    return _message("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
