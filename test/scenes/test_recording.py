from __future__ import annotations

import os
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest

from avperception.bags import BagReader
from avperception.errors import AvperceptionError, BagError
from avperception.scenes import SEGMENTATION_CLASSES, Rig, Scene, write_recording
from avperception.scenes.recording import START_NS

RATE = 10.0


@pytest.fixture(scope="module")
def scene(small_rig: Rig) -> Scene:
    return Scene(4, "day", "straight", duration=0.3, rig=small_rig)


@pytest.fixture(scope="module")
def recording(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "scene.mcap"
    summary = write_recording(scene, path)
    assert summary.frames == 3
    return path


def read(path: Path) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    with BagReader(path) as bag:
        assert bag.damage is None
        for message in bag.messages():
            found.setdefault(message.topic, []).append(bag.deserialize(message))
    return found


def test_the_same_seed_gives_the_same_bytes(scene: Scene, recording: Path, tmp_path: Path) -> None:
    again = tmp_path / "scene.mcap"
    write_recording(replace(scene), again)
    assert again.read_bytes() == recording.read_bytes()


def test_another_seed_gives_another_world(scene: Scene, recording: Path, tmp_path: Path) -> None:
    other = tmp_path / "scene.mcap"
    write_recording(replace(scene, seed=5), other)
    first, second = read(recording)["/front/image_raw"][0], read(other)["/front/image_raw"][0]
    assert np.mean(first.data != second.data) > 0.5  # type: ignore[attr-defined]


def test_several_processes_give_the_same_bytes(small_rig: Rig, tmp_path: Path) -> None:
    tiny = Scene(3, "rain", "straight", duration=0.9, rig=small_rig)
    paths = [tmp_path / name / "scene.mcap" for name in ("one", "two")]
    for processes, path in zip((1, 2), paths, strict=True):
        path.parent.mkdir()
        write_recording(tiny, path, processes=processes)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_every_frame_has_all_topics_at_one_stamp(recording: Path) -> None:
    found = read(recording)
    stamps = [START_NS + round(k * 1e9 / RATE) for k in range(3)]
    for topic in (
        "/front/image_raw", "/front/camera_info", "/points", "/ground_truth",
        "/front/ground_truth/detections_2d", "/front/ground_truth/segmentation",
    ):  # fmt: skip
        headers = [message.header.stamp for message in found[topic]]  # type: ignore[attr-defined]
        assert [h.sec * 10**9 + h.nanosec for h in headers] == stamps, topic
    assert [message.data for message in found["/ground_truth/condition"]] == ["day"] * 3  # type: ignore[attr-defined]


def test_transforms_reach_beyond_the_first_and_last_sweep(recording: Path) -> None:
    transforms = [t for message in read(recording)["/tf"] for t in message.transforms]  # type: ignore[attr-defined]
    stamps = [t.header.stamp.sec * 10**9 + t.header.stamp.nanosec for t in transforms]
    assert (transforms[0].header.frame_id, transforms[0].child_frame_id) == ("odom", "base_link")
    assert min(stamps) <= START_NS - 50_000_000 and max(stamps) >= START_NS + 250_000_000
    assert set(np.diff(stamps)) == {20_000_000}
    static = {t.child_frame_id for message in read(recording)["/tf_static"] for t in message.transforms}  # type: ignore[attr-defined]
    assert static == {"front_camera_optical", "lidar"}


def test_truth_is_written_as_it_is(scene: Scene, recording: Path) -> None:
    found = read(recording)
    frame = scene.frame(0.1)
    written = found["/ground_truth"][1].detections  # type: ignore[attr-defined]
    assert [d.id for d in written] == [str(o.track_id) for o in frame.objects]
    for detection, truth in zip(written, frame.objects, strict=True):
        centre, velocity = detection.bbox.center.position, detection.results[1].pose.pose.position
        np.testing.assert_allclose([centre.x, centre.y, centre.z], truth.center)
        assert [r.hypothesis.class_id for r in detection.results] == [
            truth.class_name,
            "velocity",
            "lidar_points",
        ]
        np.testing.assert_allclose([velocity.x, velocity.y, velocity.z], truth.velocity)
        assert detection.results[2].hypothesis.score == truth.lidar_points
    written = found["/front/ground_truth/detections_2d"][1].detections  # type: ignore[attr-defined]
    assert len(written) == len(frame.boxes["front"]) > 0
    for detection, box in zip(written, frame.boxes["front"], strict=True):
        x, y = detection.bbox.center.position.x, detection.bbox.center.position.y
        np.testing.assert_allclose(x - detection.bbox.size_x / 2, box.box[0])
        np.testing.assert_allclose(y + detection.bbox.size_y / 2, box.box[3])
        scores = {r.hypothesis.class_id: r.hypothesis.score for r in detection.results}
        assert scores == {box.class_name: 1.0, "visible": box.visible, "truncated": box.truncated}
    mask = found["/front/ground_truth/segmentation"][1]
    np.testing.assert_array_equal(mask.data, frame.segmentations["front"].ravel())  # type: ignore[attr-defined]
    (label,) = found["/front/ground_truth/label_info"]
    assert tuple(c.class_name for c in label.class_map) == SEGMENTATION_CLASSES  # type: ignore[attr-defined]
    lanes = found["/ground_truth/lanes"][1].markers  # type: ignore[attr-defined]
    assert len(lanes) == len(frame.lanes) and lanes[0].header.frame_id == "base_link"


def test_points_carry_ring_and_time(scene: Scene, recording: Path) -> None:
    cloud = read(recording)["/points"][1]
    assert [f.name for f in cloud.fields] == ["x", "y", "z", "intensity", "ring", "time"]  # type: ignore[attr-defined]
    dtype = np.dtype("<f4,<f4,<f4,<f4,<u2,<f4")
    sweep = scene.sweep(0.1)
    columns = np.frombuffer(cloud.data, dtype)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(columns["f0"], sweep.points_lidar[:, 0])
    np.testing.assert_array_equal(columns["f4"], sweep.ring)
    np.testing.assert_array_equal(columns["f5"], sweep.time)


def test_an_existing_file_is_kept_unless_told(scene: Scene, recording: Path) -> None:
    before = recording.stat().st_mtime_ns
    with pytest.raises(BagError, match="exists already"):
        write_recording(scene, recording)
    assert recording.stat().st_mtime_ns == before


def test_ctrl_c_half_way_leaves_nothing(scene: Scene, tmp_path: Path) -> None:
    """In one process; the command's test has several."""

    def interrupt(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_recording(scene, tmp_path / "scene.mcap", processes=1, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_is_one_clear_line(small_rig: Rig, tmp_path: Path) -> None:
    longer = Scene(3, "day", "straight", duration=1.5, rig=small_rig)

    def kill(done: int, total: int) -> None:
        if done == 1:
            active_children()[0].kill()

    with pytest.raises(AvperceptionError, match="a rendering process was ended from outside"):
        write_recording(longer, tmp_path / "scene.mcap", processes=2, progress=kill)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into read-only folders")
def test_a_read_only_folder_is_one_clear_line(scene: Scene, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(BagError, match=r"cannot write .*scene\.mcap: Permission denied"):
            write_recording(scene, tmp_path / "scene.mcap")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_clear_line(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is opened for the recording goes to a device on which every write fails with ENOSPC."""
    opened = Path.open

    def full(path: Path, mode: str = "r", *arguments: object, **options: object) -> object:
        target = Path("/dev/full") if path.suffix == ".mcap" and "r" not in mode else path
        return opened(target, mode.replace("x", "w"), *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(BagError, match="No space left on device"):
        write_recording(scene, tmp_path / "scene.mcap")
    assert list(tmp_path.iterdir()) == []
