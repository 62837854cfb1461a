"""A labelled cloud coloured for people: each object's points in the colour of its class."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField

from avperception.drawing.palette import class_rgb
from avperception.errors import MessageError
from avperception.nodes.conversions.clouds import LABELLED_DTYPE
from avperception.types import Detection3D

INSTANCES = 65536
NO_OBJECT = 0x808080
COLOURED_DTYPE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4")])


def coloured_cloud_message(labelled: PointCloud2, detections: Iterable[Detection3D]) -> PointCloud2:
    """Make a cloud of x y z rgb of one with x y z intensity class instance, and the detections of its sweep.

    Points of no detection are grey. `rgb` is 0x00RRGGBB in the four bytes of a float, as rviz and
    Foxglove read it. Raises MessageError `missing_fields` if it is not a cloud of the perception node.
    """
    records = _records(labelled)
    table = np.full(INSTANCES, NO_OBJECT, np.uint32)
    for detection in detections:
        if detection.track_id:
            table[detection.track_id % INSTANCES] = _packed(detection.class_name)
    coloured = np.empty(len(records), COLOURED_DTYPE)
    for axis in "xyz":
        coloured[axis] = records[axis]
    coloured["rgb"] = table[records["instance"]]
    message = PointCloud2(header=labelled.header, height=1, width=len(coloured), is_dense=True)
    message.fields = [
        PointField(name=name, offset=4 * number, datatype=PointField.FLOAT32, count=1)
        for number, name in enumerate(("x", "y", "z", "rgb"))
    ]
    message.point_step = COLOURED_DTYPE.itemsize
    message.row_step = message.point_step * message.width
    data = array("B")
    data.frombytes(coloured.tobytes())
    message.data = data
    return message


def _records(labelled: PointCloud2) -> NDArray[np.void]:
    wanted = [(name, place[1]) for name, place in (LABELLED_DTYPE.fields or {}).items()]
    fields = [(field.name, field.offset) for field in labelled.fields]
    size = labelled.width * labelled.height * LABELLED_DTYPE.itemsize
    if fields != wanted or labelled.point_step != LABELLED_DTYPE.itemsize or len(labelled.data) != size:
        names = ", ".join(name for name, _ in wanted)
        raise MessageError("missing_fields", f"a cloud without the fields {names} cannot be coloured")
    return np.frombuffer(labelled.data, LABELLED_DTYPE)


def _packed(class_name: str) -> int:
    red, green, blue = (round(255 * part) for part in class_rgb(class_name))
    return red << 16 | green << 8 | blue
