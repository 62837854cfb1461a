import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from rrd import Recording

from avperception.drawing.boxes import box_corners
from avperception.drawing.palette import class_bgr
from avperception.errors import BagError, ConfigurationError
from avperception.ops import cpu
from avperception.types import CameraModel, Detection3D, Detections2D, Image
from avperception.viewing.scene_view import SceneView

pytest.importorskip("rerun", reason="rerun-sdk is not installed")

STAMP = 1_700_000_000_123_456_789
K = np.array([[500.0, 0, 319.5], [0, 500.0, 239.5], [0, 0, 1]])
PINHOLE = CameraModel(640, 480, K, np.zeros(0), "plumb_bob", "front_optical")
LENS = CameraModel(640, 480, K, np.array([-0.32, 0.12, 0.001, -0.002, -0.02]), "plumb_bob", "front_optical")
T_CAMERA_TARGET = np.array([[0.0, -1, 0, 0], [0, 0, -1, 1.5], [1, 0, 0, 0], [0, 0, 0, 1]])
"""1.5 m above the ground, looking along x."""


def detection(center: tuple[float, float, float], **changes: object) -> Detection3D:
    values = {
        "class_id": 0, "class_name": "car", "score": 0.9, "center": np.array(center),
        "size": np.array([4.2, 1.8, 1.5]), "yaw": 0.3, "covariance": np.eye(6), "cameras": ("front",),
        "point_indices": np.array([0, 2]), "track_id": 7, "velocity": np.array([8.0, 6.0, 0.0]),
    }  # fmt: skip
    return Detection3D(**{**values, **changes})  # type: ignore[arg-type]


CAR = detection((15.0, 2.0, 0.75))


def picture(width: int = 64, height: int = 48, stamp_ns: int = STAMP) -> Image:
    pixels = np.full((height, width, 3), (30, 60, 200), np.uint8)
    return Image(pixels, "bgr8", width, height, stamp_ns, "front_optical")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "scene.rrd"


def test_boxes_with_ids_and_velocities(file: Path):
    slow = detection((5.0, 0, 0), class_name="pedestrian", track_id=0, velocity=np.zeros(3), yaw=0.0)
    with SceneView(["front"], file) as view:
        view.show_objects([CAR, slow], STAMP)
        view.show_objects([], STAMP + 1)
    recording = Recording(file)
    boxes = "/world/objects/boxes"
    (stamp, labels), (_, none) = recording.rows(boxes, "Boxes3D:labels")
    assert (stamp, labels, none) == (STAMP, ["car 7  10.0 m/s", "pedestrian"], [])
    np.testing.assert_allclose(recording.rows(boxes, "Boxes3D:centers")[0][1][0], CAR.center)
    np.testing.assert_allclose(recording.rows(boxes, "Boxes3D:half_sizes")[0][1][0], CAR.size / 2, rtol=1e-6)
    quaternion = recording.rows(boxes, "Boxes3D:quaternions")[0][1][0]
    np.testing.assert_allclose(quaternion, [0, 0, np.sin(0.15), np.cos(0.15)], atol=1e-6)
    (_, arrows), _ = recording.rows("/world/objects/velocities", "Arrows3D:vectors")
    np.testing.assert_allclose(arrows, [[8.0, 6.0, 0.0]])


def test_an_image_and_what_lies_on_it(file: Path):
    mask = np.zeros((48, 64), np.uint8)
    mask[24:] = 1
    mask[0, 0] = 255
    boxes = Detections2D(
        np.array([[2, 4, 20, 30]], np.float32), np.array([0.875], np.float32), np.array([1], np.int32),
        ("car", "truck"),
    )  # fmt: skip
    with SceneView(["front"], file) as view:
        view.show_image("front", picture())
        view.show_mask("front", mask, ("background", "road"), STAMP)
        view.show_boxes_2d("front", boxes, STAMP)
        view.show_lanes_2d("front", [np.array([[1, 2], [3, 4]], np.float32)], STAMP)
    recording, place = Recording(file), "/world/cameras/front"
    ((_, (jpeg,)),) = recording.rows(f"{place}/image/64x48", "EncodedImage:blob")
    shown = cv2.imdecode(np.array(jpeg, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_allclose(shown[10, 10], (30, 60, 200), atol=6)
    ((_, (png,)),) = recording.rows(f"{place}/classes/64x48", "EncodedImage:blob")
    tint = cv2.imdecode(np.array(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert tint.shape == (48, 64, 4)
    assert not tint[:24].any(), "background and unlabelled pixels are clear"
    np.testing.assert_array_equal(tint[30, 30], (*class_bgr("road"), 255))
    assert recording.rows(f"{place}/boxes", "Boxes2D:labels") == [(STAMP, ["truck 0.88"])]
    assert recording.rows(f"{place}/lanes", "LineStrips2D:strips")[0][1] == [[[1, 2], [3, 4]]]


def test_an_image_of_another_size_takes_the_place_of_the_first(file: Path):
    with SceneView(["front"], file) as view:
        view.show_image("front", picture())
        view.show_image("front", picture(width=80, stamp_ns=STAMP + 5))
        view.show_image("front", picture(width=80, stamp_ns=STAMP + 9))
    recording, image = Recording(file), "/world/cameras/front/image"
    assert [stamp for stamp, _ in recording.rows(f"{image}/64x48", "Clear:is_recursive")] == [STAMP + 5]
    blobs = recording.rows(f"{image}/80x48", "EncodedImage:blob")
    assert [stamp for stamp, _ in blobs] == [STAMP + 5, STAMP + 9]


@pytest.mark.parametrize("camera", [PINHOLE, LENS], ids=["pinhole", "lens"])
def test_wire_frames_lie_where_the_camera_sees_the_box(file: Path, camera: CameraModel):
    with SceneView(["front"], file) as view:
        view.show_wire_frames("front", [CAR], camera, T_CAMERA_TARGET, STAMP)
    ((_, strips),) = Recording(file).rows("/world/cameras/front/boxes_3d", "LineStrips2D:strips")
    assert len(strips) == 12
    corners = cpu.transform_points(box_corners(CAR.center, CAR.size, CAR.yaw), T_CAMERA_TARGET)
    pixels, rows = cpu.project_points(corners, camera.K, camera.D, camera.distortion_model, 640, 480)
    assert len(rows) == 8
    ends = np.array(strips).reshape(-1, 2)
    for pixel in pixels + 0.5:
        assert np.linalg.norm(ends - pixel, axis=1).min() < 0.1


def test_wire_frames_end_at_the_image_and_at_the_camera(file: Path):
    """Beyond its field of view the polynomial of a lens would draw them anywhere across the image."""
    beside, behind = detection((1.5, 30.0, 0.75)), detection((-10.0, 0.0, 0.75))
    half = detection((9.0, 6.0, 0.75), size=np.array([6.0, 2.0, 1.5]), yaw=0.0)
    with SceneView(["front"], file) as view:
        view.show_wire_frames("front", [beside, behind], LENS, T_CAMERA_TARGET, STAMP)
        view.show_wire_frames("front", [half], LENS, T_CAMERA_TARGET, STAMP + 1)
    rows = Recording(file).rows("/world/cameras/front/boxes_3d", "LineStrips2D:strips")
    assert rows[0][1] == []
    ends = np.array(rows[1][1]).reshape(-1, 2)
    assert 4 < len(ends) <= 24
    assert (ends >= -0.01).all() and (ends <= [640.01, 480.01]).all()


def test_the_cameras_place_and_points(file: Path):
    points = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    colors = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    with SceneView([], file) as view:
        view.add_cameras(["front", "side/left"])
        view.show_camera("side/left", PINHOLE, np.linalg.inv(T_CAMERA_TARGET), STAMP)
        view.show_points(points, colors, STAMP)
        view.show_lanes_3d("front", [np.array([[0.0, 1, 0], [5, 1, 0]])], STAMP)
    recording = Recording(file)
    place = "/world/cameras/side_left"
    ((_, (translation,)),) = recording.rows(place, "Transform3D:translation")
    np.testing.assert_allclose(translation, [0, 0, 1.5], atol=1e-6)
    assert recording.rows(place, "Pinhole:resolution") == [(STAMP, [[640.0, 480.0]])]
    assert recording.rows("/world/points", "Points3D:colors") == [(STAMP, [0xFF0000FF, 0x0000FFFF])]
    assert "/world/lanes/front" in recording.paths


def test_a_file_that_cannot_be_written(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(BagError, match=r"cannot write .*scene\.rrd"):
        SceneView(["front"], tmp_path / "file" / "scene.rrd")


def test_without_rerun_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(ConfigurationError, match=r"pip install avperception\[view\]"):
        SceneView(["front"], tmp_path / "scene.rrd")


def test_without_a_screen_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigurationError, match=r"no screen .*--save FILE\.rrd"):
        SceneView(["front"])
