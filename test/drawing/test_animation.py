from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders import detection_3d
from PIL import Image as PillowImage

from avperception.drawing.animation import BirdsEyeAnimation, draw_from_above
from avperception.drawing.birds_eye import TrueBox
from avperception.errors import BagError
from avperception.types import CameraResult, Detections2D, FusedResult, Image, LidarResult

NOTHING = Detections2D(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), ())
SECOND_NS = 1_000_000_000


def seen(shade: int) -> list[tuple[CameraResult, Image]]:
    """A grey image of 320x160 in which nothing was found."""
    result = CameraResult("front", 0, "front", 320, 160, NOTHING, None, (), ())
    pixels = np.full((160, 320, 3), shade, np.uint8)
    return [(result, Image(pixels, "bgr8", 320, 160, 0, "front"))]


def swept(*detections: object) -> FusedResult:
    nothing = np.zeros(0, np.float32)
    lidar = LidarResult(0, "lidar", np.zeros((0, 3), np.float32), nothing, nothing > 0, nothing, np.eye(4))
    return FusedResult(0, "base_link", tuple(detections), lidar, (), ())  # type: ignore[arg-type]


def film(stamps_ns: list[int]) -> BirdsEyeAnimation:
    animation = BirdsEyeAnimation(240)
    for number, stamp_ns in enumerate(stamps_ns):
        animation.add(seen(20 + 30 * number), swept(), (), lambda _: None, stamp_ns, f"picture {number}")
    return animation


def durations_ms(path: Path) -> list[int]:
    with PillowImage.open(path) as picture:
        shown = []
        for number in range(picture.n_frames):
            picture.seek(number)
            picture.load()
            shown.append(picture.info["duration"])
        return shown


def test_the_film_runs_in_the_recordings_own_time(tmp_path: Path) -> None:
    stamps = [0, 400, 800, 1600, 2000, 2400, 2800]  # ms; one picture is missing
    assert film([SECOND_NS + ms * 1_000_000 for ms in stamps]).save(tmp_path / "film.webp")
    assert durations_ms(tmp_path / "film.webp") == [400, 400, 800, 400, 400, 400, 400]
    assert [path.name for path in tmp_path.iterdir()] == ["film.webp"]


def test_few_pictures_are_shown_long_enough_to_be_seen(tmp_path: Path) -> None:
    film([0, SECOND_NS // 10, SECOND_NS // 5]).save(tmp_path / "film.webp")
    assert durations_ms(tmp_path / "film.webp") == [1000, 1000, 1000]


def test_the_camera_is_above_and_the_scene_below(tmp_path: Path) -> None:
    animation = BirdsEyeAnimation(240)
    for shade in (200, 90):
        animation.add(seen(shade), swept(), (), lambda _: None, shade * SECOND_NS, "")
    animation.save(tmp_path / "film.webp")
    with PillowImage.open(tmp_path / "film.webp") as picture:
        pixels = np.asarray(picture.convert("RGB"))
        assert pixels.shape == (120 + 24 + 240, 240, 3)
        assert abs(float(pixels[20:100].mean()) - 200) < 8
        picture.seek(1)
        assert abs(float(np.asarray(picture.convert("RGB"))[20:100].mean()) - 90) < 8


def test_a_picture_without_its_camera_keeps_the_scene_in_place() -> None:
    animation = BirdsEyeAnimation(240)
    animation.add(seen(200), swept(), (), lambda _: None, 0, "")
    animation.add([], swept(), (), lambda _: None, SECOND_NS, "")
    first, second = animation._same_size()
    assert first.shape == second.shape and np.array_equal(first[144:], second[144:])


def test_without_a_picture_there_is_no_file(tmp_path: Path) -> None:
    assert not BirdsEyeAnimation().save(tmp_path / "film.webp")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"film\.webp"):
        film([0, 1]).save(tmp_path / "missing" / "film.webp")


def test_boxes_in_view_are_drawn_and_those_beyond_leave_no_label() -> None:
    empty = draw_from_above([], swept(), (), 400)
    for x, y, is_drawn in ((10.0, 3.0, True), (60.0, 0.0, False), (10.0, 40.0, False), (-20.0, 0.0, False)):
        fused = swept(detection_3d(x, y))
        assert (draw_from_above([], fused, (), 400) != empty).any() == is_drawn, (x, y)


def test_the_truth_is_drawn_without_a_lidar() -> None:
    truth = [TrueBox("car", np.array([12.0, -4.0, 0.8]), np.array([4.5, 1.8, 1.6]), 0.3)]
    assert (draw_from_above([], None, truth, 400) != draw_from_above([], None, (), 400)).any()
