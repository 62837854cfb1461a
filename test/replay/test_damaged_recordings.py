"""Recordings that are cut off, hold bad messages, or are stored in other ways."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from recorded import NO_NETWORKS, change, contents, metrics, read_bag, run_replay, write_bag
from rosbags.rosbag2 import StoragePlugin, Writer

from avperception.bags import BagMessage, BagReader, BagWriter, convert_video, messages, typestore
from avperception.errors import BagError, ModelError
from avperception.replay.metrics import has_failures

OBJECTS = "/perception/output/detections_3d"


def second_image(message: BagMessage) -> bool:
    return message.topic == "/front/image_raw" and message.stamp_ns % 10**9 == 100_000_000


def of_unknown_encoding(image: Any) -> Any:
    image.encoding = "32FC3"
    return image


def replay_in(folder: Path, bag: Path, **options: Any) -> dict[str, Any]:
    summary = run_replay(bag, folder / "out", NO_NETWORKS, **options)
    assert summary == metrics(folder / "out")
    return summary


def test_without_networks_the_frames_still_go_through(kitti_bag: Path, tmp_path: Path):
    summary = replay_in(tmp_path, kitti_bag)
    assert summary["frames"] == {"in": 3, "out": 3, "dropped": {}}
    assert summary["detections"] == {} and not has_failures(summary)


def test_one_bad_image_among_good_ones(kitti_bag: Path, tmp_path: Path):
    bag = change(kitti_bag, tmp_path / "bad.mcap", second_image, of_unknown_encoding)
    summary = replay_in(tmp_path, bag)
    assert summary["frames"]["dropped"]["unknown_encoding"] == 1
    assert (summary["frames"]["in"], summary["frames"]["out"]) == (3, 3)
    assert has_failures(summary)
    topics = [topic for topic, _, _ in contents(tmp_path / "out" / "detections.mcap")]
    assert topics.count("/perception/output/front/detections_2d") == 2
    assert topics.count(OBJECTS) == 3


@pytest.mark.parametrize(
    "topic", ["/front/image_raw", "/points", "/front/camera_info", "/tf_static", "/ground_truth"]
)
def test_garbage_bytes_on_a_topic(kitti_bag: Path, tmp_path: Path, topic: str):
    recording = read_bag(kitti_bag)
    index = [i for i, message in enumerate(recording) if message.topic == topic][-1]
    recording[index] = recording[index]._replace(cdr=b"\x00\x01\x00\x00" + b"\xff" * 40)
    summary = replay_in(tmp_path, write_bag(tmp_path / "bad.mcap", recording))
    assert sum(summary["frames"]["dropped"].values()) >= 1 and has_failures(summary)
    assert summary["frames"]["out"] >= 1
    if topic in ("/front/image_raw", "/front/camera_info", "/ground_truth"):
        assert summary["frames"]["out"] == 3


@pytest.mark.parametrize("cdr", [b"", b"\x00", b"\x00\x01\x00\x00"])
def test_messages_of_no_bytes(kitti_bag: Path, tmp_path: Path, cdr: bytes):
    recording = read_bag(kitti_bag)
    index = next(i for i, message in enumerate(recording) if message.topic == "/front/image_raw")
    recording[index] = recording[index]._replace(cdr=cdr)
    summary = replay_in(tmp_path, write_bag(tmp_path / "bad.mcap", recording))
    assert has_failures(summary) and summary["frames"]["out"] == 3


def test_a_recording_cut_off_in_the_middle(kitti_bag: Path, tmp_path: Path):
    whole = kitti_bag.read_bytes()
    bag = tmp_path / "cut.mcap"
    bag.write_bytes(whole[: len(whole) * 6 // 10])
    summary = replay_in(tmp_path, bag)
    assert summary["damage"] and has_failures(summary)
    assert 1 <= summary["frames"]["out"] < 3
    sweeps = [topic for topic, _, _ in contents(tmp_path / "out" / "detections.mcap")]
    assert sweeps.count(OBJECTS) == summary["frames"]["out"]
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == summary["frames"]["out"]


def test_a_recording_cut_off_within_its_first_bytes(kitti_bag: Path, tmp_path: Path):
    bag = tmp_path / "cut.mcap"
    bag.write_bytes(kitti_bag.read_bytes()[:6])
    with pytest.raises(BagError, match=r"cut\.mcap"):
        replay_in(tmp_path, bag)


@pytest.mark.parametrize("plugin", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
def test_a_folder_gives_what_the_file_gives(kitti_bag: Path, tmp_path: Path, plugin: StoragePlugin):
    recording = read_bag(kitti_bag)
    with Writer(tmp_path / "folder", version=9, storage_plugin=plugin) as writer:
        connections = {
            topic: writer.add_connection(topic, msgtype, typestore=typestore())
            for topic, msgtype in {m.topic: m.msgtype for m in recording}.items()
        }
        for message in recording:
            writer.write(connections[message.topic], message.stamp_ns, message.cdr)
    summary = replay_in(tmp_path, tmp_path / "folder", max_pictures=0)
    assert summary["frames"] == {"in": 3, "out": 3, "dropped": {}}
    run_replay(kitti_bag, tmp_path / "other", NO_NETWORKS, max_pictures=0)
    ours = contents(tmp_path / "out" / "detections.mcap")
    assert ours == contents(tmp_path / "other" / "detections.mcap")


def without(kitti_bag: Path, path: Path, *topics: str) -> Path:
    return write_bag(path, [message for message in read_bag(kitti_bag) if message.topic not in topics])


def test_a_recording_without_camera_info(kitti_bag: Path, tmp_path: Path):
    summary = replay_in(tmp_path, without(kitti_bag, tmp_path / "bag.mcap", "/front/camera_info"))
    assert summary["frames"]["dropped"] == {"no_camera_info_front": 3}
    assert summary["frames"]["out"] == 3


def test_a_recording_without_transforms(kitti_bag: Path, tmp_path: Path):
    summary = replay_in(tmp_path, without(kitti_bag, tmp_path / "bag.mcap", "/tf_static"))
    assert summary["frames"] == {"in": 3, "out": 0, "dropped": {"no_transform": 3}}
    assert has_failures(summary)
    boxes = [t for t, _, _ in contents(tmp_path / "out" / "detections.mcap") if t.endswith("detections_2d")]
    assert len(boxes) == 3


def test_a_recording_without_images(kitti_bag: Path, tmp_path: Path):
    summary = replay_in(
        tmp_path, without(kitti_bag, tmp_path / "bag.mcap", "/front/image_raw", "/front/camera_info")
    )
    assert summary["frames"] == {"in": 3, "out": 3, "dropped": {}}
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 3


def test_a_recording_without_sweeps_and_without_truth(kitti_bag: Path, tmp_path: Path):
    summary = replay_in(tmp_path, without(kitti_bag, tmp_path / "bag.mcap", "/points", "/ground_truth"))
    assert summary["frames"] == {"in": 3, "out": 3, "dropped": {}}
    assert "truth" not in summary


def test_sweeps_that_hold_a_topic_only_of_no_messages(kitti_bag: Path, tmp_path: Path):
    recording = read_bag(kitti_bag, {"/front/image_raw", "/front/camera_info"})
    with BagWriter(tmp_path / "bag.mcap") as writer:
        writer.add_topic("/points", messages.POINT_CLOUD)
        for message in recording:
            writer.add_topic(message.topic, message.msgtype)
            writer.write_cdr(message.topic, message.stamp_ns, message.cdr)
    summary = replay_in(tmp_path, tmp_path / "bag.mcap")
    assert summary["frames"]["in"] == summary["frames"]["out"]


# -- the output folder ------------------------------------------------------------------------------------


def test_pictures_of_an_earlier_run_do_not_stay(kitti_bag: Path, tmp_path: Path):
    overlays = tmp_path / "out" / "overlays"
    overlays.mkdir(parents=True)
    (overlays / "000077.png").write_bytes(b"old")
    (overlays / "notes.txt").write_text("mine")
    replay_in(tmp_path, kitti_bag, max_pictures=2)
    assert sorted(path.name for path in overlays.iterdir()) == ["000000.png", "000002.png", "notes.txt"]


def test_an_earlier_result_is_replaced(kitti_bag: Path, tmp_path: Path):
    first = replay_in(tmp_path, kitti_bag, max_pictures=0)
    again = replay_in(tmp_path, kitti_bag, max_pictures=0)
    assert first["frames"] == again["frames"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "detections.mcap", "metrics.json", "overlays"
    }  # fmt: skip


@pytest.mark.parametrize("blocked", ["out", "out/detections.mcap/x", "out/metrics.json/x", "out/overlays"])
def test_a_place_that_is_taken_by_something_else_is_named(kitti_bag: Path, tmp_path: Path, blocked: str):
    path = tmp_path / blocked
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way")
    with pytest.raises(BagError) as caught:
        replay_in(tmp_path, kitti_bag)
    assert blocked.removesuffix("/x") in str(caught.value) and "\n" not in str(caught.value)


# -- the node that does not start -------------------------------------------------------------------------


def test_a_network_of_another_sha256(
    kitti_bag: Path, networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "networks"
    shutil.copytree(networks, folder)
    path = folder / "yolox_nano_416.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    monkeypatch.setenv("AVPERCEPTION_MODELS", str(folder))
    with pytest.raises(ModelError, match="sha256"):
        run_replay(kitti_bag, tmp_path / "out")
    # After a failed start the next replay of the same process must work.
    assert run_replay(kitti_bag, tmp_path / "out", NO_NETWORKS)["frames"]["out"] == 3


# -- a video ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True], ids=["raw", "compressed"])
def test_a_video_with_lanes_and_road_on_each_frame(
    shared_dir: Path, tmp_path: Path, with_networks: None, compressed: bool
):
    frames = 12 if not compressed else 2
    bag = tmp_path / "video.mcap"
    with BagWriter(bag) as writer:
        convert_video(first_frames(shared_dir, tmp_path, frames), writer, compressed=compressed)
    summary = run_replay(bag, tmp_path / "out")
    assert summary["frames"] == {"in": frames, "out": frames, "dropped": {}}
    assert "truth" not in summary and set(summary["detections"]) & {"car", "truck"}
    with BagReader(tmp_path / "out" / "detections.mcap") as result:
        masks = [result.deserialize(m) for m in result.messages(["/perception/output/front/segmentation"])]
        lanes = [result.deserialize(m) for m in result.messages(["/perception/output/lanes"])]
    assert len(masks) == len(lanes) == frames
    for mask in masks:
        assert np.mean(mask.data == 1) > 0.1, "drivable area"
        assert np.mean(mask.data == 2) > 0.001, "lane lines"
    assert all(any(marker.points for marker in message.markers) for message in lanes)
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == frames


def first_frames(shared_dir: Path, tmp_path: Path, count: int) -> Path:
    """A shorter copy of the shared video."""
    capture = cv2.VideoCapture(str(shared_dir / "data" / "video" / "solidWhiteRight.mp4"))
    path = tmp_path / "short.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (960, 540))
    for _ in range(count):
        ok, pixels = capture.read()
        assert ok
        writer.write(pixels)
    writer.release()
    return path
