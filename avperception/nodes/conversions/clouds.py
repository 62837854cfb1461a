"""sensor_msgs PointCloud2 to PointCloud, and fused results to a labelled PointCloud2."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField

from avperception.errors import MessageError
from avperception.nodes.conversions.headers import header_message, stamp_ns
from avperception.types import UNLABELLED, Float32, FusedResult, PointCloud

_DTYPES = {
    PointField.INT8: "<i1",
    PointField.UINT8: "<u1",
    PointField.INT16: "<i2",
    PointField.UINT16: "<u2",
    PointField.INT32: "<i4",
    PointField.UINT32: "<u4",
    PointField.FLOAT32: "<f4",
    PointField.FLOAT64: "<f8",
}


def cloud_from_message(message: PointCloud2) -> PointCloud:
    """Read the finite points of a message of any field order and point step.

    Intensity is zero where the message has none. Raises MessageError: `zero_stamp`, `big_endian`,
    `missing_fields`, `wrong_point_step`, `wrong_data_size`, `empty_cloud`.
    """
    stamp = stamp_ns(message.header)
    if message.is_bigendian:
        raise MessageError("big_endian", "a big-endian point cloud is not read")
    records = _records(message)
    points = _points(records)
    intensity = _intensity(records)
    invalid = 0
    # A finite sum proves that every coordinate is finite, and costs a tenth of looking at each.
    if not np.isfinite(points.sum()):
        finite = np.isfinite(points).all(axis=1)
        invalid = int(len(points) - np.count_nonzero(finite))
        points, intensity = points[finite], intensity[finite]
    return PointCloud(points, intensity, stamp, message.header.frame_id, invalid)


def _points(records: NDArray[np.void]) -> Float32:
    """Copy x y z of each record (N, 3); where they lie side by side, as nearly always, in one go."""
    fields: Any = records.dtype.fields
    places = [fields[name][1] for name in "xyz"]
    step = records.dtype.itemsize
    if places != list(range(places[0], places[0] + 12, 4)) or places[0] % 4 or step % 4:
        return np.stack([records[name] for name in "xyz"], axis=1)
    columns = records.view(np.float32).reshape(-1, step // 4)
    first = places[0] // 4
    return columns[:, first : first + 3].copy()


def _intensity(records: NDArray[np.void]) -> Float32:
    """The intensity of each record (N,), zero where there is none or one that is not finite."""
    if "intensity" not in (records.dtype.names or ()):
        return np.zeros(len(records), dtype=np.float32)
    with np.errstate(over="ignore"):
        intensity: Float32 = records["intensity"].astype(np.float32)
    if not np.isfinite(intensity.sum()):
        intensity[~np.isfinite(intensity)] = 0.0
    return intensity


def _records(message: PointCloud2) -> NDArray[np.void]:
    """View the message's bytes as one structured record per point."""
    fields = {field.name: field for field in message.fields}
    for name in "xyz":
        if name not in fields or fields[name].datatype != PointField.FLOAT32:
            raise MessageError(
                "missing_fields", f"field {name!r} of type FLOAT32 is missing: {_names(message)}"
            )
    count = message.width * message.height
    if count == 0:
        raise MessageError("empty_cloud", "the cloud has no points")
    read = [fields[name] for name in ("x", "y", "z", "intensity") if name in fields]
    read = [field for field in read if field.datatype in _DTYPES]
    ends = [field.offset + np.dtype(_DTYPES[field.datatype]).itemsize for field in read]
    if message.point_step < max(ends):
        raise MessageError(
            "wrong_point_step", f"point_step is {message.point_step}, the fields need {max(ends)} bytes"
        )
    row_bytes = message.width * message.point_step
    row_step = message.row_step if message.height > 1 else row_bytes
    if row_step < row_bytes or len(message.data) != row_step * message.height:
        raise MessageError(
            "wrong_data_size",
            f"data has {len(message.data)} bytes, {message.height} rows of {row_step} bytes are announced",
        )
    dtype = np.dtype(
        {
            "names": [field.name for field in read],
            "formats": [_DTYPES[field.datatype] for field in read],
            "offsets": [field.offset for field in read],
            "itemsize": message.point_step,
        }
    )
    rows = np.frombuffer(message.data, dtype=np.uint8).reshape(message.height, row_step)[:, :row_bytes]
    return np.ascontiguousarray(rows).reshape(-1).view(dtype)


def _names(message: PointCloud2) -> str:
    return "it has " + (", ".join(f"{field.name} ({field.datatype})" for field in message.fields) or "none")


LABELLED_DTYPE = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("class", "u1"), ("instance", "<u2")]
)


def labelled_cloud_message(result: FusedResult) -> PointCloud2:
    """Make the sweep in the target frame with each point's object.

    `class` is the detector's class id, 255 for no object; `instance` the track id modulo 65536, 0 for none.
    """
    records = np.zeros(len(result.lidar.points), dtype=LABELLED_DTYPE)
    for axis, name in enumerate("xyz"):
        records[name] = result.lidar.points[:, axis]
    records["intensity"] = result.lidar.intensity
    records["class"] = UNLABELLED
    for detection in result.detections:
        records["class"][detection.point_indices] = detection.class_id
        records["instance"][detection.point_indices] = detection.track_id & 0xFFFF
    message = PointCloud2(height=1, width=len(records), is_bigendian=False, is_dense=True)
    message.header = header_message(result.stamp_ns, result.frame_id)
    message.fields = _fields(LABELLED_DTYPE)
    message.point_step = LABELLED_DTYPE.itemsize
    message.row_step = message.point_step * message.width
    data = array("B")
    data.frombytes(records.tobytes())
    message.data = data
    return message


def _fields(dtype: np.dtype[Any]) -> list[PointField]:
    types = {np.dtype(code): datatype for datatype, code in _DTYPES.items()}
    places: Any = dtype.fields
    return [
        PointField(name=name, offset=place[1], datatype=types[place[0]], count=1)
        for name, place in places.items()
    ]
