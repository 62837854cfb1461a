from contextlib import suppress

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo

from avperception.errors import MessageError
from avperception.nodes.conversions.cameras import camera_model_from_message

K = [700.0, 0.0, 620.5, 0.0, 710.0, 187.25, 0.0, 0.0, 1.0]


def make(**changes: object) -> CameraInfo:
    message = CameraInfo(
        width=1242, height=376, distortion_model="plumb_bob", d=[-0.3, 0.1, 1e-3, -2e-3, 0.01]
    )
    message.k = K
    message.header.stamp.sec = 5
    message.header.frame_id = "front_camera_optical"
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def reason(message: CameraInfo) -> str:
    with pytest.raises(MessageError) as caught:
        camera_model_from_message(message)
    assert "\n" not in str(caught.value)
    return caught.value.reason


def test_a_calibration_is_taken_as_it_is():
    model = camera_model_from_message(make())
    assert (model.width, model.height) == (1242, 376)
    assert (model.distortion_model, model.frame_id) == ("plumb_bob", "front_camera_optical")
    np.testing.assert_array_equal(model.K.reshape(9), K)
    np.testing.assert_array_equal(model.D, [-0.3, 0.1, 1e-3, -2e-3, 0.01])


def test_an_uncalibrated_camera():
    assert reason(CameraInfo(width=640, height=480)) == "uncalibrated"


@pytest.mark.parametrize("model", ["fisheye", "plumb bob", "PLUMB_BOB", "thin_prism"])
def test_an_unknown_distortion_model(model: str):
    assert reason(make(distortion_model=model)) == "unknown_distortion_model"


@pytest.mark.parametrize(
    ("model", "count"),
    [("plumb_bob", 0), ("plumb_bob", 5), ("rational_polynomial", 8), ("equidistant", 4), ("", 0)],
)
def test_the_models_that_are_known(model: str, count: int):
    read = camera_model_from_message(make(distortion_model=model, d=[0.01] * count))
    assert read.distortion_model == (model or "plumb_bob") and len(read.D) == count


@pytest.mark.parametrize(
    ("model", "count"),
    [("plumb_bob", 1), ("plumb_bob", 8), ("rational_polynomial", 5), ("equidistant", 5), ("equidistant", 1)],
)
def test_a_wrong_count_of_coefficients(model: str, count: int):
    assert reason(make(distortion_model=model, d=[0.01] * count)) == "bad_camera_info"


@pytest.mark.parametrize("place", range(9))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_k_that_is_not_finite(place: int, value: float):
    k = list(K)
    k[place] = value
    assert reason(make(k=k)) == "bad_camera_info"


def test_d_that_is_not_finite():
    assert reason(make(d=[0.0, 0.0, np.nan, 0.0, 0.0])) == "bad_camera_info"


@pytest.mark.parametrize("place", [0, 4])
def test_a_negative_focal_length(place: int):
    k = list(K)
    k[place] *= -1
    assert reason(make(k=k)) == "bad_camera_info"


def test_a_focal_length_of_zero_in_y():
    k = list(K)
    k[4] = 0.0
    assert reason(make(k=k)) in ("bad_camera_info", "uncalibrated")


@pytest.mark.parametrize(("width", "height"), [(0, 376), (1242, 0)])
def test_an_image_of_no_size(width: int, height: int):
    assert reason(make(width=width, height=height)) == "bad_camera_info"


# -- images that are rectified already ----------------------------------------------------------------

P = [500.0, 0.0, 610.0, -60.0, 0.0, 510.0, 180.0, 0.0, 0.0, 0.0, 1.0, 0.0]


def test_a_rectified_image_is_a_pinhole_with_the_k_of_p():
    message = with_roi(make(p=P, binning_x=2, binning_y=2), 100, 20, 1000, 300)
    model = camera_model_from_message(message, is_rectified=True)
    assert len(model.D) == 0
    same = with_roi(
        make(k=[P[i] for i in (0, 1, 2, 4, 5, 6, 8, 9, 10)], binning_x=2, binning_y=2), 100, 20, 1000, 300
    )
    np.testing.assert_array_equal(model.K, camera_model_from_message(same).K)
    assert (model.width, model.height) == (500, 150)


def test_a_rectified_image_needs_no_known_lens():
    message = make(p=P, distortion_model="a lens nobody knows", d=[1.0] * 7)
    assert camera_model_from_message(message, is_rectified=True).K[0, 0] == 500.0


def test_a_rectified_image_of_an_uncalibrated_camera():
    with pytest.raises(MessageError, match="P") as caught:
        camera_model_from_message(make(p=[0.0] * 12), is_rectified=True)
    assert caught.value.reason == "uncalibrated"


def test_rectifying_by_opencv_and_p_put_a_point_where_k_and_d_put_it():
    """A point projected with K and D, its pixel rectified by OpenCV with P: P alone gives the same pixel."""
    raw = make(width=640, height=480, p=[350.0, 0, 330.0, 0, 0, 360.0, 250.0, 0, 0, 0, 1, 0])
    raw.k = [400.0, 0.0, 320.5, 0.0, 410.0, 240.25, 0.0, 0.0, 1.0]
    point = np.array([[0.6, -0.4, 2.0]])
    model, rectified = camera_model_from_message(raw), camera_model_from_message(raw, is_rectified=True)
    pixel, _ = cv2.projectPoints(point, np.zeros(3), np.zeros(3), model.K, model.D)
    moved = cv2.undistortPoints(pixel, model.K, model.D, R=np.eye(3), P=rectified.K)
    expected, _ = cv2.projectPoints(point, np.zeros(3), np.zeros(3), rectified.K, None)
    np.testing.assert_allclose(moved.reshape(2), expected.reshape(2), atol=0.01)


# -- region of interest and binning (REP-104, CameraInfo.msg) ------------------------------------------


def with_roi(message: CameraInfo, x: int, y: int, width: int, height: int) -> CameraInfo:
    message.roi.x_offset, message.roi.y_offset, message.roi.width, message.roi.height = x, y, width, height
    return message


def project(model_K: np.ndarray, D: np.ndarray) -> np.ndarray:
    """Pixels by OpenCV itself of some points of the camera's frame."""
    points = np.array([[0.5, -0.2, 4.0], [-3.0, 0.7, 9.0], [2.0, 1.0, 20.0]])
    pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), model_K, D)
    return pixels.reshape(-1, 2)


@pytest.mark.parametrize(
    ("roi", "binning"),
    [
        ((0, 0, 0, 0), (0, 0)),
        ((100, 40, 1000, 300), (1, 1)),
        ((0, 0, 0, 0), (2, 4)),
        ((101, 43, 1000, 300), (4, 2)),
    ],
)
def test_a_point_lands_where_cropping_and_binning_put_its_pixel(
    roi: tuple[int, int, int, int], binning: tuple[int, int]
):
    full = make()
    full.binning_x, full.binning_y = binning
    model = camera_model_from_message(with_roi(full, *roi))
    expected = project(np.reshape(K, (3, 3)), np.array(full.d))
    expected -= roi[:2]
    steps = np.maximum(binning, 1)
    # A binned pixel spans the area of its parts, pixel i from i - 0.5 to i + 0.5.
    expected = (expected + 0.5) / steps - 0.5
    np.testing.assert_allclose(project(model.K, model.D), expected, atol=1e-9)
    size = np.array([roi[2] or 1242, roi[3] or 376]) // steps
    assert (model.width, model.height) == tuple(size)


def test_binning_averages_the_pixels_that_the_model_says():
    """A spot in an image binned by OpenCV's area filter lies where the binned model projects it."""
    message = make(d=[], distortion_model="plumb_bob", width=400, height=200, binning_x=4, binning_y=4)
    message.k = [300.0, 0.0, 199.5, 0.0, 300.0, 99.5, 0.0, 0.0, 1.0]
    model = camera_model_from_message(message)
    point = np.array([[0.35, -0.12, 1.5]])
    full, _ = cv2.projectPoints(point, np.zeros(3), np.zeros(3), np.reshape(message.k, (3, 3)), None)
    rows, columns = np.mgrid[0:200, 0:400]
    x, y = full.reshape(2)
    spot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 12.0**2))
    binned = cv2.resize(spot, (100, 50), interpolation=cv2.INTER_AREA)
    rows, columns = np.mgrid[0:50, 0:100]
    centre = np.array([(binned * columns).sum(), (binned * rows).sum()]) / binned.sum()
    pixel, _ = cv2.projectPoints(point, np.zeros(3), np.zeros(3), model.K, None)
    np.testing.assert_allclose(pixel.reshape(2), centre, atol=0.01)


uint32 = st.one_of(st.integers(0, 3000), st.integers(0, 2**32 - 1))
number = st.one_of(st.floats(width=64), st.floats(0.1, 2000))


@given(
    st.lists(number, min_size=9, max_size=9),
    st.lists(number, max_size=15),
    st.one_of(st.sampled_from(["plumb_bob", "rational_polynomial", "equidistant", ""]), st.text(max_size=9)),
    st.tuples(*[uint32] * 8),
)
@settings(max_examples=120, deadline=None)
def test_random_fields_give_a_usable_camera_or_a_reason(
    k: list[float], d: list[float], model: str, sizes: tuple[int, ...]
):
    message = CameraInfo(width=sizes[0], height=sizes[1], distortion_model=model, d=d)
    message.k, message.binning_x, message.binning_y = k, sizes[2], sizes[3]
    with_roi(message, *sizes[4:])
    with suppress(MessageError):
        camera = camera_model_from_message(message)
        assert camera.K[0, 0] > 0 and camera.K[1, 1] > 0
        assert np.isfinite(camera.K).all() and np.isfinite(camera.D).all()
        assert camera.width > 0 and camera.height > 0
