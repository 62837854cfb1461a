from __future__ import annotations

import cv2
import numpy as np
import pytest

from avperception.scenes import Frame, Scene
from avperception.scenes.ranging.raycast import cast
from avperception.scenes.render.camera import Picture
from avperception.scenes.render.painter import FIRST_SOLID
from avperception.scenes.solid import LANE_LINE, ROAD
from avperception.types import Float64


def nearest_solids(picture: Picture, K: Float64, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which solid of a picture each pixel's ray meets first, by ray casting; -1 for none."""
    rays = np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones(len(x))], axis=1)
    T_world_camera = np.linalg.inv(picture.T_camera_world)
    rays, eye = rays @ T_world_camera[:3, :3].T, T_world_camera[:3, 3]
    nearest, found = np.full(len(x), np.inf), np.full(len(x), -1)
    for number, solid in enumerate(picture.solids):
        rotation = solid.rotation.astype(np.float64)
        origins = np.repeat((rotation.T @ (eye - solid.position))[:, None], len(x), axis=1)
        hits = cast(solid.shape, origins.astype(np.float32), (rays @ rotation).T.astype(np.float32))
        nearer = hits.range < nearest[hits.rows]
        nearest[hits.rows[nearer]] = hits.range[nearer]
        found[hits.rows[nearer]] = number
    return found


@pytest.mark.parametrize(("seed", "t"), [(0, 2.0), (5, 4.0)])
def test_the_painters_order_shows_what_a_ray_meets_first(small_rig, seed: int, t: float) -> None:  # type: ignore[no-untyped-def]
    scene = Scene(seed, "day", ("straight", "curved")[seed % 2], rig=small_rig)
    picture = scene.picture("front", t)
    ids = picture.ideal_ids
    kernel = np.ones((3, 3), np.uint8)
    inner = cv2.erode(ids, kernel) == cv2.dilate(ids, kernel)  # at an edge a pixel belongs to both
    y, x = (values[::13] for values in np.nonzero(inner))
    K = scene.rig.camera("front").model.K
    expected = nearest_solids(picture, K, x, y)
    painted = ids[y, x].astype(int) - FIRST_SOLID
    painted[painted < 0] = -1
    tracks = np.array([*(solid.track_id for solid in picture.solids), 0])
    wrong = tracks[painted] != tracks[expected]
    assert (tracks[expected] > 0).sum() > 40, "hardly an actor in view: choose another scene"
    assert wrong.mean() < 5e-4


def test_masks_and_picture_come_from_the_same_polygons(curved_scene: Scene, curved_frame: Frame) -> None:
    """Where lane paint is masked the picture is brighter than the asphalt beside it."""
    grey = curved_frame.images["front"].mean(axis=2)
    mask = curved_frame.segmentations["front"]
    beside = cv2.dilate((mask == LANE_LINE).astype(np.uint8), np.ones((1, 25), np.uint8)) > 0
    assert (mask == LANE_LINE).sum() > 1000
    assert grey[mask == LANE_LINE].mean() > 1.25 * grey[beside & (mask == ROAD)].mean()


def test_lane_truth_lies_on_the_paint(curved_scene: Scene, curved_frame: Frame) -> None:
    """Solid lines projected into the picture fall on pixels of lane lines, unless something hides them."""
    camera = curved_scene.rig.camera("front")
    T_camera_base = np.linalg.inv(camera.T_base_camera)
    mask = cv2.dilate((curved_frame.segmentations["front"] == LANE_LINE).astype(np.uint8), np.ones((3, 3)))
    road = curved_frame.segmentations["front"] <= LANE_LINE
    checked = 0
    for lane in curved_frame.lanes:
        if not lane.is_solid:
            continue
        points = lane.points_base @ T_camera_base[:3, :3].T + T_camera_base[:3, 3]
        points = points[(points[:, 2] > 3) & (points[:, 2] < 40)]
        x, y = np.round(
            points[:, :2] / points[:, 2:] * camera.model.K[[0, 1], [0, 1]] + camera.model.K[:2, 2]
        ).T.astype(int)
        inside = (x >= 0) & (x < camera.model.width) & (y >= 0) & (y < camera.model.height)
        x, y = x[inside], y[inside]
        on_road = road[y, x]
        checked += int(on_road.sum())
        assert mask[y[on_road], x[on_road]].all()
    assert checked > 12
