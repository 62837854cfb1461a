"""Results to visualization_msgs markers for rviz."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from avperception.drawing.palette import class_rgb
from avperception.nodes.conversions.detections import yaw_quaternion
from avperception.nodes.conversions.headers import duration_message, header_message
from avperception.types import Detection3D, Float64

LIFETIME: Duration = duration_message(500_000_000)
"""How long rviz shows what is not renewed: a node that died must not leave boxes standing."""

SLOW = 0.5
"""Speed [m/s] below which a velocity is not shown: most of it is noise."""


class ObjectsIn3D(Protocol):
    """What is marked: the 3D detections of one sweep, in frame `frame_id` at `stamp_ns`."""

    @property
    def stamp_ns(self) -> int: ...

    @property
    def frame_id(self) -> str: ...

    @property
    def detections(self) -> Sequence[Detection3D]: ...


def class_color(class_name: str, alpha: float = 1.0) -> ColorRGBA:
    """Give a class its colour, the same in every run."""
    red, green, blue = class_rgb(class_name)
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)


def detection_markers(objects: ObjectsIn3D) -> MarkerArray:
    """Make a translucent box, a label and an arrow of the velocity for each detection.

    The array starts with DELETEALL. An arrow is as long as its object moves in a second, and left out
    below SLOW.
    """
    header = header_message(objects.stamp_ns, objects.frame_id)
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for number, detection in enumerate(objects.detections):
        markers += [_box(header, number, detection), _label(header, number, detection)]
        if np.linalg.norm(detection.velocity) >= SLOW:
            markers.append(_velocity(header, number, detection))
    return MarkerArray(markers=markers)


def lane_markers(camera: str, lanes: list[Float64], nanoseconds: int, frame_id: str) -> MarkerArray:
    """Make a LINE_STRIP for each lane line (K, 3) of one camera, in the target frame."""
    header = header_message(nanoseconds, frame_id)
    array = MarkerArray()
    for number, lane in enumerate(lanes):
        strip = Marker(
            header=header, ns=f"lanes/{camera}", id=number, type=Marker.LINE_STRIP, lifetime=LIFETIME
        )
        strip.pose.orientation.w = 1.0
        strip.scale.x = 0.15
        strip.color = ColorRGBA(r=1.0, g=0.9, b=0.2, a=1.0)
        strip.points = [_point(point) for point in lane]
        array.markers.append(strip)
    return array


def _box(header: Header, number: int, detection: Detection3D) -> Marker:
    box = Marker(header=header, ns="boxes", id=number, type=Marker.CUBE, lifetime=LIFETIME)
    box.pose.position = _point(detection.center)
    box.pose.orientation = yaw_quaternion(detection.yaw)
    box.scale.x, box.scale.y, box.scale.z = map(float, detection.size)
    box.color = class_color(detection.class_name, alpha=0.4)
    return box


def _label(header: Header, number: int, detection: Detection3D) -> Marker:
    label = Marker(header=header, ns="labels", id=number, type=Marker.TEXT_VIEW_FACING, lifetime=LIFETIME)
    label.pose.position = _point(detection.center + [0.0, 0.0, detection.size[2] / 2 + 0.4])
    label.pose.orientation.w = 1.0
    label.scale.z = 0.5
    label.color = class_color(detection.class_name)
    label.text = f"{detection.class_name} {detection.track_id}  {detection.score:.2f}"
    return label


def _velocity(header: Header, number: int, detection: Detection3D) -> Marker:
    arrow = Marker(header=header, ns="velocities", id=number, type=Marker.ARROW, lifetime=LIFETIME)
    arrow.pose.orientation.w = 1.0
    arrow.scale.x, arrow.scale.y, arrow.scale.z = 0.12, 0.3, 0.4  # shaft and head diameter, head length, m
    arrow.color = class_color(detection.class_name)
    arrow.points = [_point(detection.center), _point(detection.center + detection.velocity)]
    return arrow


def _point(xyz: Float64) -> Point:
    x, y, z = np.asarray(xyz, dtype=np.float64)
    return Point(x=float(x), y=float(y), z=float(z))
