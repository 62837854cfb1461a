"""The shared KITTI frames through the real node with the real networks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from recorded import contents, metrics, read_bag

from avperception.bags import BagReader
from avperception.replay.driver import ReplayDriver, Results
from avperception.replay.plan import plan_replay

OUTPUTS = {
    "/perception/output/front/detections_2d": "vision_msgs/msg/Detection2DArray",
    "/perception/output/front/segmentation": "sensor_msgs/msg/Image",
    "/perception/output/front/label_info": "vision_msgs/msg/LabelInfo",
    "/perception/output/detections_3d": "vision_msgs/msg/Detection3DArray",
    "/perception/output/lanes": "visualization_msgs/msg/MarkerArray",
    "/perception/output/points_labelled": "sensor_msgs/msg/PointCloud2",
    "/perception/markers": "visualization_msgs/msg/MarkerArray",
}
FIRST_NS = 1_317_042_000_000_000_000
"""Stamp of frame 000000 as `convert kitti` writes it."""

PEDESTRIAN = np.array([8.736, -1.868, 1.075])
"""Centre of frame 000000's pedestrian in base_link [m].

From label_2/000000.txt, bottom centre (1.84, 1.47, 8.41) in camera 0 and height 1.89, by
inv(R0_rect Tr_velo_to_cam) of calib/000000.txt and 1.73 m from the ground up to the lidar.
"""


def stamp_ns(header: object) -> int:
    return header.stamp.sec * 10**9 + header.stamp.nanosec  # type: ignore[attr-defined]


def messages(folder: Path, topic: str) -> list[object]:
    with BagReader(folder / "detections.mcap") as bag:
        return [bag.deserialize(message) for message in bag.messages([topic])]


def test_every_output_topic_is_in_detections_mcap(replayed: Callable[[int], Path]):
    with BagReader(replayed(1) / "detections.mcap") as bag:
        assert bag.damage is None
        assert {topic.name: topic.msgtype for topic in bag.topics} == OUTPUTS
        counts = {topic.name: topic.message_count for topic in bag.topics}
        latched = {topic.name for topic in bag.topics if topic.latched}
    label_info = "/perception/output/front/label_info"
    assert counts == {**dict.fromkeys(OUTPUTS, 3), label_info: 1}
    assert latched == {label_info}


def test_metrics_have_the_agreed_form(replayed: Callable[[int], Path]):
    found = metrics(replayed(1))
    assert found["frames"] == {"in": 3, "out": 3, "dropped": {}}
    assert {"camera", "detector_network", "segmenter_network", "lidar", "fusion", "tracker"} <= set(
        found["latency_ms"]
    )
    for times in found["latency_ms"].values():
        assert set(times) == {"p50", "p95", "p99"}
        assert 0 <= times["p50"] <= times["p95"] <= times["p99"] < 60_000
    assert all(isinstance(count, int) and count > 0 for count in found["detections"].values())
    classes: Counter[str] = Counter()
    for message in messages(replayed(1), "/perception/output/detections_3d"):
        classes.update(item.results[0].hypothesis.class_id for item in message.detections)
    assert found["detections"] == dict(classes)
    # The objects of the three label files, DontCare left out.
    objects = {"car": 2, "cyclist": 1, "misc": 1, "pedestrian": 1, "truck": 1}
    assert found["truth"]["objects"] == objects and found["truth"]["frames"] == 3
    assert found["truth"]["found"]["pedestrian"] == 1


def test_the_pedestrian_stands_where_it_is_labelled(replayed: Callable[[int], Path]):
    first = messages(replayed(1), "/perception/output/detections_3d")[0]
    assert stamp_ns(first.header) == FIRST_NS and first.header.frame_id == "base_link"
    people = [item for item in first.detections if item.results[0].hypothesis.class_id == "person"]
    assert len(people) == 1
    position = people[0].bbox.center.position
    centre = np.array([position.x, position.y, position.z])
    assert np.linalg.norm(centre - PEDESTRIAN) < 0.5
    covariance = people[0].results[0].pose.covariance.reshape(6, 6)
    np.testing.assert_allclose(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() >= 0 and np.all(np.diag(covariance)[:3] > 0)


def test_the_labelled_place_is_that_of_the_recordings_own_truth(kitti_bag: Path):
    with BagReader(kitti_bag) as bag:
        truth = [bag.deserialize(message) for message in bag.messages(["/ground_truth"])]
    (item,) = [i for i in truth[0].detections if i.results[0].hypothesis.class_id == "pedestrian"]
    position = item.bbox.center.position
    np.testing.assert_allclose([position.x, position.y, position.z], PEDESTRIAN, atol=0.001)


def test_images_and_results_share_stamp_frame_and_size(replayed: Callable[[int], Path], kitti_bag: Path):
    with BagReader(kitti_bag) as bag:
        images = [bag.deserialize(message) for message in bag.messages(["/front/image_raw"])]
    masks = messages(replayed(1), "/perception/output/front/segmentation")
    boxes = messages(replayed(1), "/perception/output/front/detections_2d")
    for image, mask, found in zip(images, masks, boxes, strict=True):
        for message in (mask, found):
            assert stamp_ns(message.header) == stamp_ns(image.header)
            assert message.header.frame_id == image.header.frame_id == "front_camera_optical"
        assert (mask.width, mask.height, mask.encoding) == (image.width, image.height, "mono8")
        assert set(np.unique(mask.data)) <= {0, 1, 2}
        for item in found.detections:
            centre = item.bbox.center.position
            assert centre.x - item.bbox.size_x / 2 >= 0 and centre.x + item.bbox.size_x / 2 <= image.width
            assert centre.y - item.bbox.size_y / 2 >= 0 and centre.y + item.bbox.size_y / 2 <= image.height
    # Frame 000000 shows a square for pedestrians, 000001 a road with a marked lane.
    assert np.mean(masks[1].data == 1) > 0.1 and np.mean(masks[1].data == 2) > 0.005


def test_overlays_show_the_frames(replayed: Callable[[int], Path]):
    pictures = sorted((replayed(1) / "overlays").iterdir())
    assert [path.name for path in pictures] == ["000000.png", "000001.png", "000002.png"]
    for path in pictures:
        picture = cv2.imread(str(path))
        height, width = picture.shape[:2]
        assert 400 <= height <= 1200 and 1.5 * height <= width <= 5000
        assert picture.std() > 20, "it is not blank"


def test_replaying_twice_gives_the_same_to_the_last_bit(replayed: Callable[[int], Path]):
    one, other = (contents(replayed(number) / "detections.mcap") for number in (1, 2))
    assert len(one) == len(other) == 19
    for (topic, time_ns, fields), (other_topic, other_ns, other_fields) in zip(one, other, strict=True):
        assert (topic, time_ns) == (other_topic, other_ns)
        assert fields == other_fields, topic
    ours, theirs = (metrics(replayed(number)) for number in (1, 2))
    for key in ("frames", "detections", "truth", "noted"):
        assert ours[key] == theirs[key]


def test_a_recording_that_loops_through_one_node_gives_the_same_each_time(
    kitti_bag: Path, with_networks: None
):
    def facts(results: list[Results]) -> list[object]:
        return [
            (
                d.class_name,
                d.score,
                d.track_id,
                d.yaw,
                d.center.tobytes(),
                d.size.tobytes(),
                d.covariance.tobytes(),
            )
            for result in results
            for fused in result.fused
            for d in fused.detections
        ]

    laps = []
    with BagReader(kitti_bag) as bag:
        plan = plan_replay(bag.topics)
    recording = read_bag(kitti_bag, plan.topics)
    with ReplayDriver(plan, {"cameras": ["front"]}) as driver:
        for _ in range(2):
            results = []
            for message in recording:
                driver.play(message)
                results.append(driver.settle())
            laps.append(facts(results))
        dropped = {source.name: source.dropped for source in driver.node.sources}
    assert laps[0] == laps[1] and len(laps[0]) >= 3
    assert not any(dropped.values())
