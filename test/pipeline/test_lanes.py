import time

import cv2
import numpy as np
import pytest
from builders import camera_model, camera_mount
from hypothesis import given, settings
from hypothesis import strategies as st

from avperception.ops.cpu import lane_lines
from avperception.pipeline.lanes import lane_on_ground

HEIGHT, WIDTH = 540, 960


def mask_of(*lines: list[tuple[float, float]], width: int = 9, dash: int = 0) -> np.ndarray:
    """A mask with lines drawn through these points; `dash` rows on, as many off."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for points in lines:
        cv2.polylines(mask, [np.array(points, np.int32)], False, 1, width)
    if dash:
        mask[(np.arange(HEIGHT) // dash) % 2 == 1] = 0
    return mask.astype(bool)


def column_at(line: np.ndarray, row: float) -> float:
    return float(np.interp(-row, -line[:, 1], line[:, 0]))


def test_two_straight_lines_are_followed_from_near_to_far() -> None:
    lines = lane_lines(mask_of([(200, 539), (440, 300)], [(800, 539), (520, 300)]))

    assert len(lines) == 2
    for line, (bottom, top) in zip(lines, [(200, 440), (800, 520)], strict=True):
        assert line.dtype == np.float32 and line.shape[1] == 2
        assert (np.diff(line[:, 1]) < 0).all() and line[0, 1] > 530 and line[-1, 1] < 310
        expected = bottom + (539 - line[:, 1]) / 239 * (top - bottom)
        assert np.abs(line[:, 0] - expected).max() < 3


@pytest.mark.parametrize("dash", [10, 20, 35])
def test_a_dashed_line_is_one_line(dash: int) -> None:
    lines = lane_lines(mask_of([(200, 539), (440, 300)], dash=dash))

    assert len(lines) == 1
    assert lines[0][0, 1] - lines[0][-1, 1] > 180


def test_a_curve_is_one_line() -> None:
    rows = np.arange(539, 280, -5)
    columns = 300 + 150 * ((539 - rows) / 259) ** 2

    lines = lane_lines(mask_of(list(zip(columns, rows, strict=True))))

    assert len(lines) == 1
    line = lines[0][:-2]  # the drawn line ends in a round cap
    assert np.abs(line[:, 0] - (300 + 150 * ((539 - line[:, 1]) / 259) ** 2)).max() < 4


def test_lines_that_merge_at_the_horizon_stay_apart_below_it() -> None:
    lines = lane_lines(mask_of([(150, 539), (480, 300)], [(480, 539), (480, 300)], [(810, 539), (480, 300)]))

    assert len(lines) == 3
    for line, bottom in zip(lines, (150, 480, 810), strict=True):
        for row in (520, 450, 380):
            assert column_at(line, row) == pytest.approx(bottom + (539 - row) / 239 * (480 - bottom), abs=4)


def test_a_gap_longer_than_a_dash_ends_a_line() -> None:
    mask = mask_of([(200, 539), (440, 200)])
    mask[380:460] = False

    lines = lane_lines(mask)

    assert len(lines) == 2
    assert not any(((line[:, 1] > 380) & (line[:, 1] < 460)).any() for line in lines)


@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (375, 1242), (1, 1), (40, 60), (96, 2)])
def test_an_empty_mask_has_no_lines(shape: tuple[int, int]) -> None:
    assert lane_lines(np.zeros(shape, bool)) == ()


def test_small_specks_are_no_lines() -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for row, column in np.random.default_rng(0).integers([0, 0], [HEIGHT - 6, WIDTH - 6], (25, 2)):
        mask[row : row + 6, column : column + 6] = True

    assert lane_lines(mask) == ()


def test_specks_beside_a_line_do_not_break_it() -> None:
    mask = mask_of([(300, 539), (460, 300)])
    for row, column in np.random.default_rng(1).integers([300, 0], [HEIGHT - 6, WIDTH - 6], (40, 2)):
        mask[row : row + 5, column : column + 5] = True

    lines = [line for line in lane_lines(mask) if line[0, 1] - line[-1, 1] > 150]

    assert len(lines) == 1


@pytest.mark.parametrize("density", [0.02, 0.5])
def test_a_mask_of_noise_does_not_hold_up_the_camera(density: float) -> None:
    """What a broken network or a wrong class table gives: it may be nonsense, but it has to be over soon."""
    noise = np.random.default_rng(2).random((360, 640)) < density

    start = time.process_time()
    lane_lines(noise)

    assert time.process_time() - start < 1.0


def test_a_full_mask_is_no_error() -> None:
    assert len(lane_lines(np.ones((HEIGHT, WIDTH), bool))) <= 1


# --------------------------------------------------------------------------------------------------
# On the ground

CAMERAS = {
    "pinhole": camera_model(),
    "barrel": camera_model(D=[-0.3, 0.1, 0.001, -0.0005, -0.01]),
    "rational": camera_model(
        D=[0.6, -0.2, 0.0003, -0.0002, -0.02, 0.95, -0.1, -0.05], model="rational_polynomial"
    ),
    "fisheye": camera_model(D=[-0.02, 0.004, -0.003, 0.0005], model="equidistant"),
}


def pixels_through_opencv(points_camera: np.ndarray, camera) -> np.ndarray:
    if not len(points_camera):
        return np.zeros((0, 2))  # OpenCV gives None
    if camera.distortion_model == "equidistant":
        pixels, _ = cv2.fisheye.projectPoints(
            points_camera[:, None], np.zeros(3), np.zeros(3), camera.K, camera.D
        )
    else:
        D = camera.D if len(camera.D) else None
        pixels, _ = cv2.projectPoints(points_camera[:, None], np.zeros(3), np.zeros(3), camera.K, D)
    return pixels.reshape(-1, 2)


@pytest.mark.parametrize("lens", CAMERAS)
@given(
    yaw=st.floats(-0.6, 0.6),
    pitch=st.floats(-0.05, 0.3),
    lane_y=st.floats(-3, 3),
    height=st.floats(0.8, 2.5),
)
@settings(max_examples=25, deadline=None)
def test_ground_points_come_back_from_their_pixels(
    lens: str, yaw: float, pitch: float, lane_y: float, height: float
) -> None:
    camera = CAMERAS[lens]
    T_camera_base = camera_mount(yaw, pitch, (0.5, 0.1, height))
    points = np.stack([np.linspace(6, 40, 12), np.full(12, lane_y), np.zeros(12)], axis=1)
    points_camera = points @ T_camera_base[:3, :3].T + T_camera_base[:3, 3]
    off_axis = np.hypot(points_camera[:, 0], points_camera[:, 1]) / points_camera[:, 2]
    in_view = (points_camera[:, 2] > 1) & (off_axis < 0.8)
    pixels = pixels_through_opencv(points_camera[in_view], camera).astype(np.float32)

    found = lane_on_ground(pixels, camera, np.linalg.inv(T_camera_base), 50.0)

    np.testing.assert_allclose(found, points[in_view], atol=0.01)


@pytest.mark.parametrize("lens", CAMERAS)
def test_pixels_above_the_horizon_and_too_far_are_left_out(lens: str) -> None:
    camera, T_camera_base = CAMERAS[lens], camera_mount()
    points = np.array([[10.0, 0, 0], [29, 0, 0], [31, 0, 0], [100, 0, 0]])
    pixels = pixels_through_opencv(points @ T_camera_base[:3, :3].T + T_camera_base[:3, 3], camera)
    sky = [[640, 350], [640, 10], [10, 10]]

    found = lane_on_ground(
        np.concatenate([pixels, sky]).astype(np.float32), camera, np.linalg.inv(T_camera_base), 30.0
    )

    np.testing.assert_allclose(found, points[:2], atol=0.02)


def test_no_pixels_give_no_points() -> None:
    found = lane_on_ground(np.zeros((0, 2), np.float32), camera_model(), np.linalg.inv(camera_mount()), 30.0)

    assert found.shape == (0, 3)
