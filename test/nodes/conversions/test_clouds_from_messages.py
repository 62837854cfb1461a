from array import array
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import PointCloud2, PointField

from avperception.errors import MessageError
from avperception.nodes.conversions.clouds import cloud_from_message

POINT_FIELDS = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
"""Constants of sensor_msgs/PointField."""


def make(records: np.ndarray, row_padding: int = 0, **changes: Any) -> PointCloud2:
    """A message of a structured array (N,) or (rows, columns), with some fields changed afterwards."""
    grid = np.atleast_2d(records)
    height, width = grid.shape
    step = records.dtype.itemsize
    rows = [grid[row].tobytes() + b"\xab" * row_padding for row in range(height)]
    message = PointCloud2(height=height, width=width, point_step=step, row_step=step * width + row_padding)
    assert records.dtype.fields is not None
    for name, (dtype, offset) in records.dtype.fields.items():
        if not name.startswith("_"):
            datatype = POINT_FIELDS[f"{dtype.kind}{dtype.itemsize}"]
            message.fields.append(PointField(name=name, offset=offset, datatype=datatype, count=1))
    message.data = array("B", b"".join(rows))
    message.header.stamp.sec, message.header.stamp.nanosec = 7, 89
    message.header.frame_id = "lidar"
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def xyz(count: int = 5, extra: str | None = "<f4") -> np.ndarray:
    columns = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")] + ([("intensity", extra)] if extra else [])
    records = np.zeros(count, np.dtype(columns))
    for place, (name, _) in enumerate(columns):
        records[name] = np.arange(count) * 2 + place
    return records


def points_of(records: np.ndarray) -> np.ndarray:
    return np.stack([records.reshape(-1)[name] for name in "xyz"], axis=1)


def reason(message: PointCloud2) -> str:
    with pytest.raises(MessageError) as caught:
        cloud_from_message(message)
    assert "\n" not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("extra", [None, "<f4"])
def test_points_have_memory_of_their_own(extra: str | None) -> None:
    """The message's goes back to the middleware, and may lie anywhere."""
    message = make(xyz(extra=extra))
    points = cloud_from_message(message).points_lidar
    assert points.flags.writeable and points.flags.aligned
    assert not np.shares_memory(points, np.frombuffer(message.data, np.uint8))


def test_a_plain_cloud():
    records = xyz()
    cloud = cloud_from_message(make(records))
    np.testing.assert_array_equal(cloud.points_lidar, points_of(records))
    np.testing.assert_array_equal(cloud.intensity, records["intensity"])
    assert (cloud.stamp_ns, cloud.frame_id, cloud.invalid) == (7_000_000_089, "lidar", 0)
    assert cloud.points_lidar.dtype == cloud.intensity.dtype == np.float32


@st.composite
def layouts(draw: st.DrawFn) -> np.dtype:
    """Any order of x y z, perhaps an intensity of any type and fields of no interest, with gaps between."""
    fields = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    if draw(st.booleans()):
        fields.append(("intensity", "<" + draw(st.sampled_from(sorted(POINT_FIELDS)))))
    for name in draw(st.lists(st.sampled_from(["ring", "time", "tag", "t"]), unique=True, max_size=3)):
        fields.append((name, "<" + draw(st.sampled_from(sorted(POINT_FIELDS)))))
    offsets, end = [], 0
    fields = draw(st.permutations(fields))
    for _, code in fields:
        end += draw(st.integers(0, 5))
        offsets.append(end)
        end += np.dtype(code).itemsize
    names, formats = zip(*fields, strict=True)
    itemsize = end + draw(st.integers(0, 9))
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize})


@given(layouts(), st.integers(1, 4), st.integers(1, 9), st.integers(0, 7), st.integers(0, 2**32 - 1))
@settings(max_examples=120, deadline=None)
def test_any_layout_reads_back(dtype: np.dtype, height: int, width: int, padding: int, seed: int):
    random = np.random.default_rng(seed)
    records = np.zeros((height, width), dtype)
    for name in "xyz":
        records[name] = random.normal(0, 50, (height, width))
    has_intensity = "intensity" in (dtype.names or ())
    if has_intensity:
        records["intensity"] = random.integers(0, 100, (height, width))
    cloud = cloud_from_message(make(records, padding if height > 1 else 0))
    np.testing.assert_array_equal(cloud.points_lidar, points_of(records))
    expected = records["intensity"].reshape(-1) if has_intensity else np.zeros(height * width)
    np.testing.assert_array_equal(cloud.intensity, expected)
    assert cloud.points_lidar.dtype == cloud.intensity.dtype == np.float32


def test_row_padding_of_an_organised_cloud_is_no_point():
    records = xyz(12).reshape(3, 4)
    cloud = cloud_from_message(make(records, row_padding=10))
    np.testing.assert_array_equal(cloud.points_lidar, points_of(records))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("axis", "xyz")
def test_points_that_are_not_finite_are_left_out_and_counted(value: float, axis: str):
    records = xyz()
    records[axis][[1, 4]] = value
    cloud = cloud_from_message(make(records, is_dense=False))
    np.testing.assert_array_equal(cloud.points_lidar, points_of(records)[[0, 2, 3]])
    np.testing.assert_array_equal(cloud.intensity, records["intensity"][[0, 2, 3]])
    assert cloud.invalid == 2


def test_is_dense_is_not_believed():
    records = xyz()
    records["y"][0] = np.nan
    cloud = cloud_from_message(make(records, is_dense=True))
    assert cloud.invalid == 1 and np.isfinite(cloud.points_lidar).all()


def test_a_cloud_of_nothing_but_nan_gives_no_point():
    records = xyz()
    records["x"] = np.nan
    cloud = cloud_from_message(make(records))
    assert cloud.points_lidar.shape == (0, 3) and cloud.intensity.shape == (0,) and cloud.invalid == 5


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_intensity_that_is_not_finite_costs_no_point(value: float):
    records = xyz()
    records["intensity"][2] = value
    cloud = cloud_from_message(make(records))
    assert len(cloud.points_lidar) == 5 and cloud.invalid == 0
    assert np.isfinite(cloud.intensity).all()


def test_an_intensity_too_large_for_float32_becomes_finite():
    records = xyz(extra="<f8")
    records["intensity"][1] = 1e300
    cloud = cloud_from_message(make(records))
    assert np.isfinite(cloud.intensity).all()


def test_no_intensity_is_zero():
    assert not cloud_from_message(make(xyz(extra=None))).intensity.any()


@pytest.mark.parametrize("axis", "xyz")
def test_a_coordinate_is_missing(axis: str):
    message = make(xyz())
    message.fields = [field for field in message.fields if field.name != axis]
    assert reason(message) == "missing_fields"


def test_no_fields_at_all():
    assert reason(make(xyz(), fields=[])) == "missing_fields"


@pytest.mark.parametrize("datatype", [0, 1, 2, 3, 4, 5, 6, 8, 9, 255])
def test_a_coordinate_that_is_no_float32(datatype: int):
    message = make(xyz())
    message.fields[1].datatype = datatype
    assert reason(message) == "missing_fields"
    with pytest.raises(
        MessageError, match=rf"'y' of type FLOAT32 is missing: it has x \(7\), y \({datatype}\)"
    ):
        cloud_from_message(message)


@pytest.mark.parametrize("datatype", [0, 9, 255])
def test_an_intensity_of_no_known_type_is_not_read(datatype: int):
    message = make(xyz())
    message.fields[3].datatype = datatype
    cloud = cloud_from_message(message)
    assert len(cloud.points_lidar) == 5 and not cloud.intensity.any()


@pytest.mark.parametrize("step", [0, 1, 11, 15])
def test_a_point_step_too_small_for_the_fields(step: int):
    assert reason(make(xyz(), point_step=step)) == "wrong_point_step"


def test_a_point_step_too_large_for_the_data():
    assert reason(make(xyz(), point_step=17)) == "wrong_data_size"


def test_an_offset_beyond_the_point():
    message = make(xyz())
    message.fields[0].offset = 2**32 - 4
    assert reason(message) == "wrong_point_step"


@pytest.mark.parametrize("row_step", [0, 47, 49, 2**32 - 1])
def test_a_wrong_row_step(row_step: int):
    assert reason(make(xyz(9, extra="<f4").reshape(3, 3), row_step=row_step)) == "wrong_data_size"


@pytest.mark.parametrize("difference", [-1, 1, -16, 16, -80])
def test_data_shorter_or_longer_than_its_rows(difference: int):
    message = make(xyz())
    message.data = array("B", bytes(len(message.data) + difference))
    assert reason(message) == "wrong_data_size"


@pytest.mark.parametrize(("width", "height"), [(0, 1), (5, 0), (0, 0)])
def test_an_empty_cloud(width: int, height: int):
    message = make(xyz(), width=width, height=height, data=array("B"))
    assert reason(message) == "empty_cloud"


def test_a_big_endian_cloud():
    assert reason(make(xyz(), is_bigendian=True)) == "big_endian"


def test_a_zero_stamp():
    message = make(xyz())
    message.header.stamp.sec = message.header.stamp.nanosec = 0
    assert reason(message) == "zero_stamp"


def test_a_cloud_larger_than_any_memory_is_refused_by_its_size():
    assert reason(make(xyz(), width=2**32 - 1, height=2**32 - 1, row_step=2**32 - 1)) == "wrong_data_size"


uint32 = st.one_of(st.integers(0, 40), st.integers(0, 2**32 - 1))
fields = st.builds(
    PointField,
    name=st.sampled_from(["x", "y", "z", "intensity", "ring", ""]),
    offset=uint32,
    datatype=st.one_of(st.just(7), st.integers(0, 255)),
    count=uint32,
)


@given(
    st.lists(fields, max_size=7),
    st.tuples(uint32, uint32, uint32, uint32),
    st.booleans(),
    st.binary(max_size=400),
)
@settings(max_examples=120, deadline=None)
def test_random_fields_give_a_cloud_or_a_reason(
    extra: list[PointField], sizes: tuple[int, int, int, int], big: bool, data: bytes
):
    message = make(xyz())
    message.fields = [*message.fields, *extra]
    message.height, message.width, message.point_step, message.row_step = sizes
    message.is_bigendian = big
    message.data = array("B", data)
    with suppress(MessageError):
        cloud = cloud_from_message(message)
        assert len(cloud.points_lidar) + cloud.invalid == message.width * message.height
        assert np.isfinite(cloud.points_lidar).all() and np.isfinite(cloud.intensity).all()
