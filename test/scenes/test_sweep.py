from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from avperception.ops.cpu import project_points
from avperception.scenes import Frame, Lidar, Rig, Scene
from avperception.scenes.solid import PERSON, VEHICLE

STAMP = 3.0
PERIOD = 0.1


def own_motion_taken_out(scene: Scene, frame: Frame) -> np.ndarray:
    """Points of a sweep in base_link, those on actors moved to where they were at the stamp."""
    assert frame.sweep is not None and scene.rig.lidar is not None
    T = scene.rig.lidar.T_base_lidar
    points = frame.sweep.points_lidar @ T[:3, :3].T + T[:3, 3]
    for truth in frame.objects:
        rows = frame.sweep.track_id == truth.track_id
        points[rows] -= frame.sweep.time[rows, None] * truth.velocity
    return points


@pytest.mark.parametrize("name", ["front", "left", "right"])
def test_camera_and_lidar_agree(curved_scene: Scene, curved_frame: Frame, name: str) -> None:
    """Points on actors fall on pixels of actors, on the picture of the distorted lens as well."""
    assert curved_frame.sweep is not None
    camera = curved_scene.rig.camera(name)
    model, T = camera.model, np.linalg.inv(camera.T_base_camera)
    on_actor = curved_frame.sweep.track_id > 0
    base = own_motion_taken_out(curved_scene, curved_frame)[on_actor]
    points = (base @ T[:3, :3].T + T[:3, 3]).astype(np.float32)
    pixels, _ = project_points(points, model.K, model.D, model.distortion_model, model.width, model.height)
    mask = curved_frame.segmentations[name]
    actors = cv2.dilate(((mask == VEHICLE) | (mask == PERSON)).astype(np.uint8), np.ones((5, 5), np.uint8))
    x, y = np.clip(np.round(pixels).astype(int), 0, (model.width - 1, model.height - 1)).T
    assert len(pixels) > 100
    # the lidar stands half a metre above the cameras and sees over what hides an actor from them
    assert actors[y, x].mean() > 0.95


def test_points_lie_on_their_objects(curved_scene: Scene, curved_frame: Frame) -> None:
    assert curved_frame.sweep is not None
    base = own_motion_taken_out(curved_scene, curved_frame)
    checked = 0
    for truth in curved_frame.objects:
        rows = curved_frame.sweep.track_id == truth.track_id
        assert rows.sum() == truth.lidar_points
        c, s = np.cos(truth.yaw), np.sin(truth.yaw)
        inside = (base[rows] - truth.center) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
        assert (np.abs(inside) < truth.size / 2 + 0.12).all()  # six sigma of the range noise
        checked += int(rows.sum())
    assert checked > 500


def test_every_point_has_its_time(curved_frame: Frame) -> None:
    sweep = curved_frame.sweep
    assert sweep is not None
    assert (np.diff(sweep.time) >= 0).all()
    assert -PERIOD / 2 < sweep.time[0] < -0.49 * PERIOD
    assert 0.49 * PERIOD < sweep.time[-1] < PERIOD / 2
    ahead = np.abs(np.arctan2(sweep.points_lidar[:, 1], sweep.points_lidar[:, 0])) < 0.02
    assert np.abs(sweep.time[ahead]).max() < 0.001, "the lidar looks ahead at the stamp"


def test_the_vehicles_own_motion_is_in_raw_points_only(raw_scene: Scene, curved_scene: Scene) -> None:
    """The same pulses: raw, a point is where the lidar was at its time; both become one by the odometry."""
    raw, compensated = raw_scene.sweep(STAMP), curved_scene.sweep(STAMP)
    np.testing.assert_array_equal(raw.time, compensated.time)
    T_base_lidar = curved_scene.rig.lidar.T_base_lidar  # type: ignore[union-attr]
    T_stamp = np.linalg.inv(curved_scene.T_world_base(STAMP) @ T_base_lidar)
    for time in np.unique(raw.time)[::300]:
        rows = raw.time == time
        T = T_stamp @ curved_scene.T_world_base(STAMP + float(time)) @ T_base_lidar
        moved = raw.points_lidar[rows] @ T[:3, :3].T + T[:3, 3]
        np.testing.assert_allclose(moved, compensated.points_lidar[rows], atol=1e-3)
    speed = curved_scene.world.ego.v_s
    shift = np.linalg.norm(raw.points_lidar - compensated.points_lidar, axis=1)
    assert 0.4 * speed * PERIOD < shift.max() < 5 * speed * PERIOD


def test_ground_points_lie_on_the_ground(curved_scene: Scene, curved_frame: Frame) -> None:
    assert curved_frame.sweep is not None
    height = curved_frame.sweep.points_lidar[:, 2] + 1.9
    nearby = np.linalg.norm(curved_frame.sweep.points_lidar[:, :2], axis=1) < 20
    half = curved_scene.world.road.half_road
    sideways = np.abs(curved_frame.sweep.points_lidar[:, 1] + curved_scene.world.ego.d0) < half - 1
    floor = height[nearby & sideways & (height < 0.08)]
    assert len(floor) > 5000
    assert abs(np.median(floor)) < 0.01


@pytest.mark.parametrize("beams", [32, 64])
def test_rings_and_ranges(small_scene: Scene, beams: int) -> None:
    lidar = Lidar.spinning(beams, columns=180, min_range=2.0, max_range=40.0)
    sweep = replace(small_scene, rig=Rig((), lidar)).sweep(STAMP)
    reach = np.linalg.norm(sweep.points_lidar, axis=1)
    assert set(sweep.ring) <= set(range(beams)) and len(set(sweep.ring)) > 0.8 * beams
    assert reach.max() < 40.0 + 0.5 and reach.min() > 2.0 - 0.5  # what the vehicle moves within a turn
    assert ((sweep.intensity >= 0) & (sweep.intensity <= 255)).all()
    per_ring = [np.median(sweep.points_lidar[sweep.ring == ring, 2]) for ring in (0, beams // 2)]
    assert per_ring[0] < per_ring[1], "rings count upwards"


def test_range_noise_is_what_was_asked_for(small_scene: Scene) -> None:
    noisy = Lidar.spinning(32, columns=720)
    exact = replace(noisy, range_noise=0.0)
    sweeps = [replace(small_scene, rig=Rig((), lidar)).sweep(STAMP) for lidar in (noisy, exact)]
    reach = [np.linalg.norm(sweep.points_lidar, axis=1) for sweep in sweeps]
    np.testing.assert_allclose(np.std(reach[0] - reach[1]), 0.02, rtol=0.1)
