from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from builders import (
    Thing,
    angle_between,
    block,
    box_2d,
    camera_model,
    camera_mount,
    camera_result,
    car,
    cast_sweep,
    detections_2d,
    empty_lidar,
    lidar_result,
    pedestrian,
    view_of,
)

from avperception.pipeline.fusion import CameraView, FusionSettings, fuse
from avperception.types import Detection3D

SETTINGS = FusionSettings()


def fuse_scene(
    things: Sequence[Thing],
    found: Sequence[Thing] | None = None,
    views: Sequence[CameraView] | None = None,
    slope: float = 0.0,
) -> tuple[Detection3D, ...]:
    """Fuse a sweep of all things with one camera that found some of them, or with these views."""
    lidar = lidar_result(cast_sweep(things, slope=slope))
    return fuse(lidar, list(views or [view_of(things if found is None else found)]), SETTINGS)


def error_of(detection: Detection3D, thing: Thing) -> float:
    return float(np.linalg.norm(detection.center - thing.center))


WALL = block("wall", 24, 0, 0, (0.4, 40, 4))

SCENES: dict[str, tuple[Thing, list[Thing], float]] = {
    "car from behind": (car(15, 0), [], 0.5),
    "car at the side of the road": (car(18, 5, 0.1), [], 0.5),
    "car that crosses": (car(14, -1, np.pi / 2), [], 0.5),
    "car by its corner": (car(14, 3, 0.7), [], 0.5),
    "pedestrian": (pedestrian(12, 2), [], 0.4),
    "pedestrian, close": (pedestrian(6, 1), [], 0.4),
    "pedestrian, far": (pedestrian(32, 3), [], 0.5),
    "truck by its rear": (block("truck", 20, -3, 0, (7, 2.5, 3)), [], 0.6),
    "car before a wall": (car(17, 0), [WALL], 0.5),
    "pedestrian before a wall": (pedestrian(14, 1), [WALL], 0.4),
    "pedestrian close to a wall": (pedestrian(22.9, 3), [WALL], 0.5),
    "car behind a post": (car(16, 0), [block("post", 9, 0.1, 0, (0.15, 0.15, 3))], 0.5),
    "car behind a hedge": (car(16, 1), [block("hedge", 11, 1, 0, (0.4, 6, 0.7))], 0.6),
    "pedestrian behind a bin": (pedestrian(12, 0), [block("bin", 8, 0, 0, (0.5, 0.6, 0.8))], 0.5),
    "pedestrian one metre before a wall": (pedestrian(14, 1), [block("wall", 15.2, 1, 0, (0.3, 20, 3))], 0.4),
    "pedestrian beside a parked car": (pedestrian(12, 1.6), [car(13, 3.2)], 0.4),
    "truck by its rear, wide and low": (block("truck", 24, 0, 0, (6.7, 2.3, 3.4)), [], 0.6),
    "car beside a wall": (car(16, 3.2), [block("wall", 16, 5.5, 0, (20, 0.3, 3))], 0.5),
}


@pytest.mark.parametrize("scene", SCENES)
def test_an_object_is_found_at_its_place(scene: str) -> None:
    thing, others, tolerance = SCENES[scene]

    detections = fuse_scene([thing, *others], found=[thing])

    assert [d.class_name for d in detections] == [thing.class_name]
    assert error_of(detections[0], thing) < tolerance
    assert detections[0].cameras == ("front",)
    if thing.class_name in ("car", "truck"):
        assert angle_between(detections[0].yaw, thing.yaw) < np.radians(15)


@pytest.mark.parametrize("scene", SCENES)
def test_the_points_of_a_detection_are_the_objects(scene: str) -> None:
    thing, others, _ = SCENES[scene]
    sweep = cast_sweep([thing, *others])

    (detection,) = fuse(lidar_result(sweep), [view_of([thing])], SETTINGS)

    assert detection.point_count == len(detection.point_indices) >= SETTINGS.min_points
    assert (sweep.owner[detection.point_indices] == 0).mean() > 0.95
    assert len(np.unique(detection.point_indices)) == detection.point_count


def test_a_car_on_a_slope_stands_on_the_slope() -> None:
    thing = car(18, 0)
    lifted = Thing(
        "car",
        thing.center + [0, 0, 0.05 * 18],
        thing.size,
        0.0,
        tuple(type(s)(s.center + [0, 0, 0.05 * 18], s.size, s.yaw) for s in thing.solids),
    )

    (detection,) = fuse_scene([lifted], slope=0.05)

    assert error_of(detection, lifted) < 0.6
    assert detection.center[2] - detection.size[2] / 2 == pytest.approx(0.05 * 18, abs=0.2)


def test_two_pedestrians_side_by_side_are_two() -> None:
    people = [pedestrian(12, 0.5), pedestrian(12, -0.5)]

    detections = fuse_scene(people)

    assert len(detections) == 2
    for person, detection in zip(people, detections, strict=True):
        assert error_of(detection, person) < 0.4


def test_a_pedestrian_beside_a_car_is_not_lost_in_it() -> None:
    things = [car(15, 2.0), pedestrian(13.5, 0.2)]

    detections = fuse_scene(things)

    assert {d.class_name for d in detections} == {"car", "person"}
    for thing in things:
        assert error_of(next(d for d in detections if d.class_name == thing.class_name), thing) < 0.6


def test_a_far_object_with_few_points_is_found_or_left_out_but_not_misplaced() -> None:
    for distance in range(30, 75, 5):
        thing = pedestrian(distance, 2)
        for detection in fuse_scene([thing]):
            assert error_of(detection, thing) < 0.8


def test_an_object_with_too_few_points_gives_no_box() -> None:
    thing = pedestrian(20, 0)
    sweep = cast_sweep([thing])
    lidar = lidar_result(sweep)
    on_it = np.flatnonzero((sweep.owner == 0) & ~lidar.is_ground)
    kept = np.sort(np.concatenate([np.flatnonzero(sweep.owner == -1), on_it[:4]]))
    few = type(lidar)(
        lidar.stamp_ns,
        lidar.frame_id,
        lidar.points[kept],
        lidar.intensity[kept],
        lidar.is_ground[kept],
        lidar.ground_height[kept],
        lidar.T_target_lidar,
    )

    assert fuse(few, [view_of([thing])], SETTINGS) == ()
    assert len(fuse(few, [view_of([thing])], FusionSettings(min_points=3))) == 1


def test_boxes_where_nothing_is_give_nothing() -> None:
    camera = camera_model()
    boxes = [[0, 0, 200, 200], [600, 10, 700, 100], [0, 0, 0, 0], [640, 700, 660, 720]]
    result = camera_result("front", 0, detections_2d(boxes, ["car", "person", "car", "car"]))

    detections = fuse_scene([car(15, 0)], views=[CameraView(result, camera, camera_mount())])

    assert detections == ()


def test_no_points_no_views_and_no_detections_give_nothing() -> None:
    view = view_of([car(15, 0)])

    assert fuse(empty_lidar(), [view], SETTINGS) == ()
    assert fuse_scene([car(15, 0)], found=[]) == ()
    assert fuse(lidar_result(cast_sweep([car(15, 0)])), [], SETTINGS) == ()


def test_a_sweep_of_ground_alone_gives_nothing() -> None:
    lidar = lidar_result(cast_sweep([]))

    assert fuse(lidar, [view_of([car(15, 0)])], SETTINGS) == ()


def test_the_result_is_sorted_by_score() -> None:
    things = [car(25, -6), pedestrian(10, 3), car(15, 0)]

    lidar = lidar_result(cast_sweep(things))
    detections = fuse(lidar, [view_of(things, scores=[0.3, 0.9, 0.6])], SETTINGS)

    assert [d.score for d in detections] == pytest.approx([0.9, 0.6, 0.3])


def test_a_covariance_is_symmetric_and_positive() -> None:
    for detection in fuse_scene([car(25, -6), pedestrian(10, 3), car(15, 0)]):
        assert detection.covariance.shape == (6, 6)
        np.testing.assert_allclose(detection.covariance, detection.covariance.T, atol=1e-12)
        assert np.linalg.eigvalsh(detection.covariance).min() > 0


def test_the_same_scene_gives_the_same_bits() -> None:
    things = [car(15, 0), pedestrian(10, 3), car(20, -5)]

    first, second = fuse_scene(things), fuse_scene(things)

    for a, b in zip(first, second, strict=True):
        for name in ("center", "size", "covariance", "point_indices"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


# --------------------------------------------------------------------------------------------------
# Several cameras, several classes

LEFT = camera_mount(yaw=0.5, position=(0.3, 0.4, 1.5))
RIGHT = camera_mount(yaw=-0.5, position=(0.3, -0.4, 1.5))


@pytest.mark.parametrize("thing", [car(15, 0), car(12, 0, np.pi / 2), pedestrian(10, 0)], ids=str)
def test_an_object_in_two_cameras_is_one(thing: Thing) -> None:
    views = [
        view_of([thing], "left", T_camera_base=LEFT, scores=[0.6]),
        view_of([thing], "right", T_camera_base=RIGHT, scores=[0.8]),
    ]

    (detection,) = fuse_scene([thing], views=views)

    assert set(detection.cameras) == {"left", "right"}
    assert detection.score == pytest.approx(0.8)
    assert error_of(detection, thing) < 0.5


def test_a_car_cut_by_the_edges_of_two_cameras_is_one() -> None:
    """Each camera sees a bit more than half of a car that crosses right before us."""
    thing = car(9, 0, np.pi / 2)
    half = camera_model(width=640)
    views = [
        view_of([thing], "left", half, camera_mount(yaw=0.38, position=(0.3, 0, 1.5)), [0.8]),
        view_of([thing], "right", half, camera_mount(yaw=-0.38, position=(0.3, 0, 1.5)), [0.7]),
    ]
    widths = [np.diff(view.result.detections.boxes[0][[0, 2]])[0] for view in views]
    whole = box_2d(thing, camera_model(), camera_mount())
    assert all(0.45 < width / (whole[2] - whole[0]) < 0.8 for width in widths)

    detections = fuse_scene([thing], views=views)

    assert len(detections) == 1


def test_a_car_cut_by_the_edge_of_the_image_is_followed_beyond_it() -> None:
    """The camera sees less than half of the car, the lidar all of its side."""
    thing = car(9, 4.5, np.pi / 2)
    narrow = camera_model(width=700)
    view = view_of([thing], "front", narrow)
    x1, _, x2, _ = view.result.detections.boxes[0]
    whole = box_2d(thing, camera_model(width=3000), camera_mount())
    assert x1 == 0 and x2 < 0.5 * (whole[2] - whole[0])

    (detection,) = fuse_scene([thing], views=[view])

    assert error_of(detection, thing) < 0.4


def test_a_truck_behind_a_car_does_not_take_the_cars_points() -> None:
    """The truck's 2D box holds the car too; its height says that it stands farther away."""
    near, far = car(14, 0.3), block("truck", 27, -0.6, 0, (7, 2.5, 3.2))

    detections = {d.class_name: d for d in fuse_scene([near, far])}

    assert error_of(detections["car"], near) < 0.5
    assert error_of(detections["truck"], far) < 0.8


def test_two_objects_in_two_cameras_are_two() -> None:
    things = [pedestrian(10, 0.6), pedestrian(10, -0.6)]
    views = [view_of(things, name, T_camera_base=T) for name, T in (("left", LEFT), ("right", RIGHT))]

    detections = fuse_scene(things, views=views)

    assert len(detections) == 2
    assert all(set(d.cameras) == {"left", "right"} for d in detections)


def test_a_camera_that_saw_nothing_takes_nothing_away() -> None:
    thing = car(15, 0)
    views = [view_of([thing], "left", T_camera_base=LEFT), view_of([], "right", T_camera_base=RIGHT)]

    (detection,) = fuse_scene([thing], views=views)

    assert detection.cameras == ("left",)


def test_an_object_found_as_two_classes_of_a_group_takes_the_better_name() -> None:
    thing = car(15, 0)
    camera, T = camera_model(), camera_mount()
    box = box_2d(thing, camera, T)
    found = detections_2d([box, box + [-2, -2, 2, 2]], ["truck", "car"], [0.4, 0.7])
    view = CameraView(camera_result("front", 0, found), camera, T)

    (detection,) = fuse_scene([thing], views=[view])

    assert (detection.class_name, detection.score) == ("car", pytest.approx(0.7))
    assert found.class_names[detection.class_id] == "car"


def test_a_rider_and_the_bicycle_stay_two() -> None:
    thing = block("bicycle", 10, 0, 0.3, (1.7, 0.5, 1.7))
    camera, T = camera_model(), camera_mount()
    box = box_2d(thing, camera, T)
    view = CameraView(camera_result("front", 0, detections_2d([box, box], ["bicycle", "person"])), camera, T)

    assert {d.class_name for d in fuse_scene([thing], views=[view])} == {"bicycle", "person"}
