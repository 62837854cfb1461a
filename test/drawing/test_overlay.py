from __future__ import annotations

import numpy as np
import pytest
from builders import (
    Thing,
    camera_model,
    camera_mount,
    camera_result,
    corners_of,
    detection_3d,
    detections_2d,
    pinhole_pixels,
)

from avperception.drawing.overlay import Scene3D, draw_label, draw_overlay
from avperception.drawing.palette import class_bgr
from avperception.types import UNLABELLED

HEIGHT, WIDTH = 720, 1280
CLASSES = ("background", "drivable_area", "lane_line")


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 120, (HEIGHT, WIDTH, 3), np.uint8)


def changed(image: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Where the picture differs from the image (height, width), with the contract every picture keeps."""
    assert picture.shape == image.shape and picture.dtype == np.uint8
    return np.asarray((picture != image).any(axis=2))


def test_an_empty_result_changes_nothing(image: np.ndarray) -> None:
    picture = draw_overlay(image, camera_result())

    assert not changed(image, picture).any()
    assert not np.shares_memory(picture, image)


def test_the_image_itself_is_left_alone(image: np.ndarray) -> None:
    before = image.copy()
    result = camera_result(
        detections=detections_2d([[100, 100, 300, 400]], ["car"]),
        segmentation=np.ones((HEIGHT, WIDTH), np.uint8),
        segmentation_classes=CLASSES,
        lanes=(np.array([[200, 700], [500, 400]], np.float32),),
    )
    image.flags.writeable = False

    assert changed(image, draw_overlay(image, result)).any()
    np.testing.assert_array_equal(image, before)


def test_a_2d_box_is_drawn_along_its_edges(image: np.ndarray) -> None:
    picture = draw_overlay(image, camera_result(detections=detections_2d([[400, 200, 700, 500]], ["car"])))

    difference = changed(image, picture)
    for row, column in ((350, 400), (350, 700), (200, 650), (500, 550)):
        assert difference[row - 2 : row + 3, column - 2 : column + 3].any()
    assert not difference[215:490, 415:690].any()
    assert not difference[520:].any() and not difference[:, 720:].any()


@pytest.mark.parametrize("box", [[-50, -50, 2000, 2000], [0, 0, 1, 1], [1279, 719, 1280, 720], [5, 5, 5, 5]])
def test_boxes_at_the_borders_are_no_error(image: np.ndarray, box: list[float]) -> None:
    changed(image, draw_overlay(image, camera_result(detections=detections_2d([box], ["person"]))))


def test_classes_tint_their_pixels_and_the_background_does_not(image: np.ndarray) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[400:, :600] = 1
    mask[400:, 700:720] = 2
    mask[:100] = UNLABELLED
    result = camera_result(segmentation=mask, segmentation_classes=CLASSES)

    picture = draw_overlay(image, result)

    np.testing.assert_array_equal(changed(image, picture), (mask == 1) | (mask == 2))
    expected = 0.68 * image[500, 300] + 0.32 * np.array(class_bgr("drivable_area"))
    np.testing.assert_allclose(picture[500, 300], expected, atol=1.5)


def test_a_lane_line_is_drawn_where_it_is(image: np.ndarray) -> None:
    lane = np.array([[200.0, 719], [400, 500], [500, 400]], np.float32)

    difference = changed(image, draw_overlay(image, camera_result(lanes=(lane,))))

    assert difference[500, 400] and difference[450, 450]
    assert not difference[:390].any() and not difference[:, 520:].any()


def test_a_line_of_one_point_is_no_error(image: np.ndarray) -> None:
    changed(image, draw_overlay(image, camera_result(lanes=(np.array([[5.0, 5]], np.float32),))))


def scene(points: list[list[float]] | None = None, detections: tuple = ()) -> Scene3D:
    array = np.array(points, np.float32) if points else np.zeros((0, 3), np.float32)
    return Scene3D(camera_model(WIDTH, HEIGHT), camera_mount(), array, detections)


def test_lidar_points_are_drawn_where_the_camera_sees_them_near_red_far_blue(image: np.ndarray) -> None:
    points = [[5.0, 1, 1], [40, -5, 1], [-5, 0, 1]]

    picture = draw_overlay(image, camera_result(), scene(points))

    difference = changed(image, picture)
    pixels = np.round(pinhole_pixels(np.array(points[:2]), camera_model(WIDTH, HEIGHT), camera_mount()))
    columns, rows = pixels.astype(int).T
    assert difference[rows, columns].all() and difference.sum() <= 8
    near, far = picture[rows, columns].astype(int)
    assert near[2] > near[0] and far[0] > far[2]


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_points_in_a_line_the_nearer_is_seen(image: np.ndarray, order: int) -> None:
    points = [[5.3, 0.0, 1.5], [45.3, 0.0, 1.5]]  # both straight ahead of the camera

    both = draw_overlay(image, camera_result(), scene(points[::order]))

    np.testing.assert_array_equal(both, draw_overlay(image, camera_result(), scene(points[:1])))


def test_points_at_the_last_pixels_stay_inside(image: np.ndarray) -> None:
    camera, T = camera_model(WIDTH, HEIGHT), camera_mount()
    pixels = np.array([[-0.5, -0.5], [1279.49, 719.49], [1279.49999, 0], [0, 719.49999]])
    rays = np.column_stack([(pixels - camera.K[:2, 2]) / camera.K[[0, 1], [0, 1]], np.ones(4)]) * 20
    points = (rays - T[:3, 3]) @ T[:3, :3]

    difference = changed(image, draw_overlay(image, camera_result(), scene(points.tolist())))

    assert difference[-1, -1]


def test_a_3d_box_is_drawn_along_its_edges(image: np.ndarray) -> None:
    detection = detection_3d(12, 1, yaw=0.3)
    thing = Thing("car", detection.center, detection.size, 0.3, ())

    difference = changed(image, draw_overlay(image, camera_result(), scene(None, (detection,))))

    pixels = pinhole_pixels(corners_of(thing), camera_model(WIDTH, HEIGHT), camera_mount())
    for x, y in pixels.round().astype(int):
        assert difference[y - 2 : y + 3, x - 2 : x + 3].any()
    low, high = pixels.min(axis=0).astype(int) - 3, pixels.max(axis=0).astype(int) + 4
    difference[low[1] : high[1], low[0] : high[0]] = False
    assert not difference.any()


@pytest.mark.parametrize("x", [-10.0, 0.3, 1.0])
def test_a_3d_box_behind_or_round_the_camera_is_not_drawn(image: np.ndarray, x: float) -> None:
    picture = draw_overlay(image, camera_result(), scene(None, (detection_3d(x, 0),)))

    assert not changed(image, picture).any()


def test_an_empty_scene_changes_nothing(image: np.ndarray) -> None:
    assert not changed(image, draw_overlay(image, camera_result(), scene())).any()


@pytest.mark.parametrize(("x", "y"), [(-500, -500), (5000, 5000), (0, 0), (639, 479)])
def test_a_label_stays_inside_the_picture(x: float, y: float) -> None:
    canvas = np.zeros((480, 640, 3), np.uint8)

    draw_label(canvas, "person 0.98", x, y, (0, 200, 255), 1.0)

    whole = np.zeros((480, 640, 3), np.uint8)
    draw_label(whole, "person 0.98", 200, 200, (0, 200, 255), 1.0)
    drawn, expected = ((c > 0).any(axis=2).sum() for c in (canvas, whole))
    assert drawn == pytest.approx(expected, rel=0.15)


def test_a_small_picture_is_no_error() -> None:
    tiny = np.zeros((8, 8, 3), np.uint8)
    result = camera_result(detections=detections_2d([[1, 1, 6, 6]], ["person"]), size=(8, 8))

    assert draw_overlay(tiny, result).shape == (8, 8, 3)
