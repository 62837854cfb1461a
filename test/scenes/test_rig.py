from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from avperception.errors import ConfigurationError
from avperception.ops.cpu import distort
from avperception.scenes import Camera, Lidar, Rig, Scene, default_rig, mounted, pinhole
from avperception.scenes.render.lens import make_lens
from avperception.scenes.rig import check_rig
from avperception.types import CameraModel

PINHOLE = pinhole("front", 320, 192, 70.0)


def camera(**changes: object) -> Camera:
    return mounted("front", replace(PINHOLE, **changes), (1.0, 0.0, 1.4))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"width": 0}, "image of 0x192"),
        ({"height": -3}, "image of 320x-3"),
        ({"width": 100_000}, "image of 100000x192"),
        ({"K": np.diag([-100.0, 100.0, 1.0])}, "two positive focal lengths"),
        ({"K": np.full((3, 3), np.nan)}, "two positive focal lengths"),
        ({"K": np.eye(4)}, "two positive focal lengths"),
        ({"K": np.array([[100.0, 0, 1], [0, 100, 1], [1, 0, 1]])}, "upper triangular"),
        ({"distortion_model": "fisheye62"}, "'fisheye62' is not known: use plumb_bob"),
        ({"D": np.zeros(4)}, "takes 5 finite numbers"),
        ({"D": np.array([np.inf, 0, 0, 0, 0])}, "takes 5 finite numbers"),
    ],
)
def test_impossible_cameras_are_refused(model: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        Scene(1, rig=Rig((camera(**model),), None))
    assert "camera front" in str(caught.value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"D": np.array([-2.5, 0.0, 0.0, 0.0, 0.0])}, "folds within the image"),
        ({"K": np.array([[20.0, 0, 160], [0, 20.0, 96], [0, 0, 1]])}, "sees more than 156 degrees"),
    ],
)
def test_lenses_that_cannot_be_rendered_are_refused(model: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make_lens(camera(**model))


@pytest.mark.parametrize(
    ("lidar", "message"),
    [
        ({"min_range": -1.0}, "range from -1 to 100 m"),
        ({"max_range": -5.0}, "range from 1 to -5 m"),
        ({"min_range": 50.0, "max_range": 20.0}, "range from 50 to 20 m"),
        ({"max_range": float("nan")}, "range from 1 to nan m"),
        ({"columns": 0}, "64 beams by 0 columns"),
        ({"range_noise": -0.1}, "range noise of -0.1 m"),
        ({"elevations": np.array([0.1, 0.0])}, "elevations of its beams must rise"),
        ({"T_base_lidar": np.eye(4)}, "mounted 0 m high"),
    ],
)
def test_impossible_lidars_are_refused(lidar: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_rig(Rig((), replace(Lidar.spinning(64), **lidar)))  # type: ignore[arg-type]


def test_two_cameras_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="camera front: there are 2 of that name"):
        check_rig(Rig((camera(), camera()), None))


@pytest.mark.parametrize(("cameras", "beams"), [(0, 64), (4, 64), (1, 16)])
def test_the_default_rig_has_its_limits(cameras: int, beams: int) -> None:
    with pytest.raises(ConfigurationError, match="not possible: choose"):
        default_rig(cameras, beams)


def test_one_camera_of_the_default_rig_is_distorted() -> None:
    distorted = [camera.name for camera in default_rig().cameras if np.any(camera.model.D)]
    assert distorted == ["left"]
    assert {(c.model.width, c.model.height) for c in default_rig().cameras} == {(960, 544)}


@pytest.mark.parametrize(
    "model",
    [
        CameraModel(320, 192, np.array([[190.0, 0, 161], [0, 189, 97], [0, 0, 1]]),
                    np.array([-0.2, 0.05, 0.001, -0.001, 0.0]), "plumb_bob", "c"),
        CameraModel(320, 192, np.array([[210.0, 0, 161], [0, 209, 97], [0, 0, 1]]),
                    np.array([0.1, -0.02, 0, 0, 0.001, 0.15, -0.01, 0.0]), "rational_polynomial", "c"),
        CameraModel(320, 192, np.array([[190.0, 0, 159], [0, 190, 95], [0, 0, 1]]),
                    np.array([0.02, -0.004, 0.001, 0.0]), "equidistant", "c"),
    ],
    ids=lambda model: model.distortion_model,
)  # fmt: skip
def test_any_lens_draws_a_point_where_its_model_says(model: CameraModel) -> None:
    lens = make_lens(mounted("c", model, (0.0, 0.0, 1.5)))
    ideal = np.zeros((lens.height, lens.width, 3), np.uint8)
    place = np.array([int(0.7 * lens.width), int(0.4 * lens.height)])
    ideal[place[1] - 2 : place[1] + 3, place[0] - 2 : place[0] + 3] = 255
    image = lens.distorted(ideal)[..., 0].astype(float)
    y, x = np.indices(image.shape)
    drawn = np.array([(image * x).sum(), (image * y).sum()]) / image.sum()
    ray = (place - lens.K[:2, 2]) / lens.K[[0, 1], [0, 1]]
    expected = distort(ray[None], model.K, model.D, model.distortion_model)[0]
    np.testing.assert_allclose(drawn, expected, atol=0.15)
    np.testing.assert_allclose(lens.distorted_points(place[None].astype(float))[0], expected, atol=1e-6)


@pytest.mark.parametrize("pitch", [-1.5, -0.8, 0.8, 1.55])
@pytest.mark.parametrize("yaw", [0.0, 3.0])
@pytest.mark.parametrize("condition", ["rain", "night"])
def test_a_camera_may_look_anywhere(pitch: float, yaw: float, condition: str) -> None:
    """To the sky, to the ground below it and back along the road, the image is filled."""
    looking = mounted("front", PINHOLE, (0.0, 0.0, 1.8), yaw=yaw, pitch=pitch)
    scene = Scene(3, condition, "straight", 2.0, Rig((looking,), None))
    frame = scene.frame(1.0)
    assert frame.sweep is None
    assert 5 < frame.images["front"].mean() < 250
    road = (frame.segmentations["front"] <= 1).mean()
    assert road == 0 if pitch < -1 else road > 0.3 if pitch > 0 else True
    assert isinstance(frame.boxes["front"], list)
