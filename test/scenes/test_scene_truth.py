from __future__ import annotations

import cv2
import numpy as np
import pytest

from avperception.ops.cpu import project_points
from avperception.scenes import Frame, Scene
from avperception.scenes.scene import Frame as FrameType
from avperception.scenes.solid import PERSON, VEHICLE

STAMP = 3.0


def corners_in_box(scene: Scene, frame: FrameType, track_id: int) -> tuple[np.ndarray, np.ndarray]:
    """All corners of an actor's shape in the axes of its true box, and the box's half size."""
    solid = next(s for s in scene.solids(frame.time) if s.track_id == track_id)
    truth = next(o for o in frame.objects if o.track_id == track_id)
    world = solid.shape.points.astype(np.float64) @ solid.rotation.T.astype(np.float64) + solid.position
    T_base_world = np.linalg.inv(scene.T_world_base(frame.time))
    base = world @ T_base_world[:3, :3].T + T_base_world[:3, 3] - truth.center
    c, s = np.cos(truth.yaw), np.sin(truth.yaw)
    return base @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), truth.size / 2


def test_boxes_fit_vehicles_to_the_millimetre(curved_scene: Scene, curved_frame: Frame) -> None:
    vehicles = [o for o in curved_frame.objects if o.class_name in ("car", "truck")]
    assert len(vehicles) >= 5
    for truth in vehicles:
        corners, half = corners_in_box(curved_scene, curved_frame, truth.track_id)
        np.testing.assert_allclose(corners.max(axis=0), half, atol=1e-3)
        np.testing.assert_allclose(corners.min(axis=0), -half, atol=1e-3)


def test_boxes_hold_people_in_every_posture(curved_scene: Scene, curved_frame: Frame) -> None:
    people = [o for o in curved_frame.objects if o.class_name in ("pedestrian", "cyclist")]
    assert {o.class_name for o in people} == {"pedestrian", "cyclist"}
    for truth in people:
        corners, half = corners_in_box(curved_scene, curved_frame, truth.track_id)
        assert (np.abs(corners) <= half + 1e-3).all()


def test_velocities_are_the_change_of_positions(curved_scene: Scene, curved_frame: Frame) -> None:
    step = 0.02
    before, after = (curved_scene.objects(STAMP + side * step) for side in (-1, 1))
    moving = 0
    for truth in curved_frame.objects:
        places = []
        for objects, t in ((before, STAMP - step), (after, STAMP + step)):
            other = [o for o in objects if o.track_id == truth.track_id]
            if other:
                T = curved_scene.T_world_base(t)
                places.append(T[:3, :3] @ other[0].center + T[:3, 3])
        if len(places) < 2:
            continue
        over_ground = curved_scene.T_world_base(STAMP)[:3, :3] @ truth.velocity
        np.testing.assert_allclose(over_ground[:2], ((places[1] - places[0]) / (2 * step))[:2], atol=0.02)
        moving += np.linalg.norm(truth.velocity) > 1
    assert moving > 10


def test_a_box_bounds_the_projection_of_its_object(curved_scene: Scene, curved_frame: Frame) -> None:
    """In the picture of a pinhole and in that of a lens: project every corner by the camera's own model."""
    checked = {"front": 0, "left": 0}
    solids = {s.track_id: s for s in curved_scene.solids(STAMP)}
    for name in checked:
        camera = curved_scene.rig.camera(name)
        model = camera.model
        T = np.linalg.inv(curved_scene.T_world_base(STAMP) @ camera.T_base_camera)
        for truth in curved_frame.boxes[name]:
            if truth.truncated > 0:
                continue
            solid = solids[truth.track_id]
            world = solid.shape.hull_points @ solid.rotation.T + solid.position
            points = (world @ T[:3, :3].T + T[:3, 3]).astype(np.float32)
            pixels, rows = project_points(
                points, model.K, model.D, model.distortion_model, model.width, model.height
            )
            if len(rows) == len(points):
                expected = np.concatenate([pixels.min(axis=0), pixels.max(axis=0)]) + 0.5
                # a straight edge may bulge beyond its ends where the lens bends it
                np.testing.assert_allclose(truth.box, expected, atol=0.15 if name == "front" else 1.0)
                checked[name] += 1
    assert checked["front"] >= 5
    assert checked["left"] >= 1


def test_what_is_seen_is_not_more_than_the_whole(curved_frame: Frame) -> None:
    boxes = [box for found in curved_frame.boxes.values() for box in found]
    assert all(0 < box.visible <= 1 and 0 <= box.truncated <= 1 for box in boxes)
    assert any(box.visible < 0.5 for box in boxes), "nothing is hidden: a poor scene"
    assert any(box.visible == 1 for box in boxes)
    assert any(box.truncated > 0.2 for box in boxes)


@pytest.mark.parametrize("camera", ["front", "left", "right"])
def test_boxes_hold_the_pixels_of_vehicles_and_people(curved_frame: Frame, camera: str) -> None:
    mask = curved_frame.segmentations[camera]
    covered = np.zeros_like(mask)
    for box in curved_frame.boxes[camera]:
        x1, y1 = np.floor(box.box[:2]).astype(int) - 1
        x2, y2 = np.ceil(box.box[2:]).astype(int) + 1
        cv2.rectangle(covered, (int(x1), int(y1)), (int(x2), int(y2)), 1, -1)
    objects = (mask == VEHICLE) | (mask == PERSON)
    assert objects.any()
    assert covered[objects].mean() > 0.999


def test_a_hidden_object_is_less_visible(small_scene: Scene) -> None:
    """Taking everything else away makes each object wholly visible, at the same box."""
    moment = small_scene.moment(STAMP)
    together = small_scene.boxes("front", small_scene.picture("front", STAMP, moment))
    hidden = [box for box in together if 0.05 < box.visible < 0.6]
    assert hidden
    for box in hidden[:3]:
        alone = [s for s in moment.solids if s.track_id == box.track_id]
        picture = small_scene.picture("front", STAMP, type(moment)(**{**vars(moment), "solids": alone}))
        (unhidden,) = small_scene.boxes("front", picture)
        assert unhidden.visible == 1.0
        np.testing.assert_allclose(unhidden.box, box.box, atol=1e-6)
