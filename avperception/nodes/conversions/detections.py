"""Results to vision_msgs."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Quaternion
from vision_msgs.msg import (
    Detection2D,
    Detection2DArray,
    Detection3DArray,
    LabelInfo,
    ObjectHypothesisWithPose,
    VisionClass,
)
from vision_msgs.msg import Detection3D as Detection3DMessage

from avperception.nodes.conversions.headers import header_message
from avperception.types import Detection3D, Detections2D, FusedResult

VELOCITY = "velocity"
"""Class id of the further result of a tracked 3D box whose position is the track's velocity [m/s]."""


def detections_2d_message(detections: Detections2D, stamp_ns: int, frame_id: str) -> Detection2DArray:
    """Make the 2D detections of one image, with the image's own stamp and frame; ids are class names."""
    message = Detection2DArray(header=header_message(stamp_ns, frame_id))
    for box, score, class_id in zip(detections.boxes, detections.scores, detections.class_ids, strict=True):
        item = Detection2D(header=message.header)
        item.results.append(_hypothesis(detections.class_names[class_id], float(score)))
        x1, y1, x2, y2 = map(float, box)
        item.bbox.center.position.x = (x1 + x2) / 2
        item.bbox.center.position.y = (y1 + y2) / 2
        item.bbox.size_x, item.bbox.size_y = x2 - x1, y2 - y1
        message.detections.append(item)
    return message


def detections_3d_message(result: FusedResult) -> Detection3DArray:
    """Make the 3D detections of one sweep, in the target frame; `id` is the track.

    results[0] is class and pose. vision_msgs has no field for the velocity of a track, relative to the
    target frame and along its axes: as in the synthetic road's truth it is a further result,
    `velocity`, in the position of its pose. Its score is 0, so that the likeliest result is the class.
    """
    message = Detection3DArray(header=header_message(result.stamp_ns, result.frame_id))
    for detection in result.detections:
        item = Detection3DMessage(header=message.header, id=str(detection.track_id))
        hypothesis = _hypothesis(detection.class_name, detection.score)
        _set_pose(hypothesis.pose.pose, detection)
        hypothesis.pose.covariance = np.ascontiguousarray(detection.covariance, dtype=np.float64).ravel()
        item.results.append(hypothesis)
        if detection.track_id:
            item.results.append(_velocity(detection))
        _set_pose(item.bbox.center, detection)
        item.bbox.size.x, item.bbox.size.y, item.bbox.size.z = map(float, detection.size)
        message.detections.append(item)
    return message


def label_info_message(classes: tuple[str, ...], nanoseconds: int, frame_id: str) -> LabelInfo:
    """Make the table from the segmentation's class ids to names."""
    message = LabelInfo(header=header_message(nanoseconds, frame_id))
    message.class_map = [VisionClass(class_id=i, class_name=name) for i, name in enumerate(classes)]
    return message


def yaw_quaternion(yaw: float) -> Quaternion:
    """Make the quaternion of a turn about z."""
    return Quaternion(z=float(np.sin(yaw / 2)), w=float(np.cos(yaw / 2)))


def _hypothesis(class_name: str, score: float) -> ObjectHypothesisWithPose:
    hypothesis = ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = class_name
    hypothesis.hypothesis.score = score
    return hypothesis


def _velocity(detection: Detection3D) -> ObjectHypothesisWithPose:
    hypothesis = _hypothesis(VELOCITY, 0.0)
    position = hypothesis.pose.pose.position
    position.x, position.y, position.z = map(float, detection.velocity)
    return hypothesis


def _set_pose(pose: object, detection: Detection3D) -> None:
    pose.position.x, pose.position.y, pose.position.z = map(float, detection.center)  # type: ignore[attr-defined]
    pose.orientation = yaw_quaternion(detection.yaw)  # type: ignore[attr-defined]
