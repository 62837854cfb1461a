"""vision_msgs, label tables and lane markers back to the package's own types, for what draws them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from vision_msgs.msg import Detection2DArray, Detection3DArray, LabelInfo
from vision_msgs.msg import Detection3D as Detection3DMessage
from visualization_msgs.msg import Marker, MarkerArray

from avperception.nodes.conversions.detections import VELOCITY
from avperception.nodes.conversions.headers import NANOSECONDS, stamp_ns
from avperception.types import Detection3D, Detections2D, Float64


@dataclass(frozen=True)
class DetectedObjects:
    """The 3D detections of one sweep: boxes in frame `frame_id` at `stamp_ns`."""

    stamp_ns: int
    frame_id: str
    detections: tuple[Detection3D, ...]


@dataclass(frozen=True)
class LaneLines:
    """Lane lines (K, 3) of one image in frame `frame_id`."""

    stamp_ns: int
    frame_id: str
    lines: tuple[Float64, ...]


def detections_2d_from_message(message: Detection2DArray) -> Detections2D:
    """Read the 2D detections of one image; their classes are numbered in the order of their names."""
    items = [item for item in message.detections if item.results]
    names = sorted({item.results[0].hypothesis.class_id for item in items})
    centers = np.array([(i.bbox.center.position.x, i.bbox.center.position.y) for i in items]).reshape(-1, 2)
    halves = np.array([(i.bbox.size_x, i.bbox.size_y) for i in items]).reshape(-1, 2) / 2
    return Detections2D(
        boxes=np.concatenate([centers - halves, centers + halves], axis=1).astype(np.float32),
        scores=np.array([item.results[0].hypothesis.score for item in items], np.float32),
        class_ids=np.array([names.index(item.results[0].hypothesis.class_id) for item in items], np.int32),
        class_names=tuple(names),
    )


def detected_objects_from_message(message: Detection3DArray) -> DetectedObjects:
    """Read the 3D detections of one sweep; raises MessageError `zero_stamp`."""
    items = [item for item in message.detections if item.results]
    detections = tuple(_detection_3d(item) for item in items)
    return DetectedObjects(stamp_ns(message.header), message.header.frame_id, detections)


def classes_from_message(message: LabelInfo) -> tuple[str, ...]:
    """Read the names of a mask's class ids; ids that the table leaves out have an empty name."""
    names = {entry.class_id: entry.class_name for entry in message.class_map if 0 <= entry.class_id < 255}
    return tuple(names.get(class_id, "") for class_id in range(max(names, default=-1) + 1))


def lanes_from_message(message: MarkerArray, camera: str) -> LaneLines | None:
    """Read one camera's lane lines; None if the array holds none of that camera."""
    strips = [m for m in message.markers if m.ns == f"lanes/{camera}" and m.action == Marker.ADD]
    if not strips:
        return None
    lanes = tuple(np.array([(p.x, p.y, p.z) for p in strip.points]).reshape(-1, 3) for strip in strips)
    header = strips[0].header
    return LaneLines(header.stamp.sec * NANOSECONDS + header.stamp.nanosec, header.frame_id, lanes)


def _detection_3d(item: Detection3DMessage) -> Detection3D:
    first, pose = item.results[0], item.bbox.center
    velocities = [r.pose.pose.position for r in item.results[1:] if r.hypothesis.class_id == VELOCITY]
    velocity = velocities[0] if velocities else None
    return Detection3D(
        class_id=0,
        class_name=first.hypothesis.class_id,
        score=first.hypothesis.score,
        center=np.array([pose.position.x, pose.position.y, pose.position.z]),
        size=np.array([item.bbox.size.x, item.bbox.size.y, item.bbox.size.z]),
        yaw=2 * math.atan2(pose.orientation.z, pose.orientation.w),
        covariance=np.array(first.pose.covariance, np.float64).reshape(6, 6),
        cameras=(),
        point_indices=np.zeros(0, np.int64),
        track_id=int(item.id) if item.id.isdecimal() else 0,
        velocity=np.array([velocity.x, velocity.y, velocity.z]) if velocity else np.zeros(3),
    )
