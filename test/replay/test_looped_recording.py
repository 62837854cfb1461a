"""A recording played again and again into one node gives the same each time, down to the tracks' ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from recorded import read_bag

from avperception.bags import BagReader
from avperception.replay.driver import Recorded, ReplayDriver
from avperception.replay.plan import plan_replay

LAPS = 5


@dataclass(frozen=True)
class Drive:
    """What was published in each lap, but what is published only once; the camera's times by stage."""

    laps: list[list[Any]]
    stage_ms: dict[str, list[float]]


@pytest.fixture(scope="module")
def drive(kitti_bag: Path, networks: Path) -> Iterator[Drive]:
    """All laps through one node, with the shared networks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVPERCEPTION_MODELS", str(networks))
        with BagReader(kitti_bag) as bag:
            plan = plan_replay(bag.topics)
        messages = [message for message in read_bag(kitti_bag) if message.topic in plan.topics]
        found = []
        with ReplayDriver(plan, {"cameras": [camera.name for camera in plan.cameras]}) as driver:
            for _ in range(LAPS):
                published: list[Recorded] = []
                for message in messages:
                    driver.play(message)
                    published += driver.settle().recorded
                found.append([contents(entry) for entry in published if "label_info" not in entry.topic])
            counts = {source.name: source.dropped for source in driver.node.all_sources}
            stage_ms = driver.node.cameras[0].source.stage_samples_ms()
        assert not any(counts.values()), counts
        yield Drive(found, stage_ms)


def contents(entry: Recorded) -> tuple[str, Any]:
    """Fields, not bytes: CDR has padding of no meaning."""
    package, _, name = entry.msgtype.split("/")
    message = deserialize_message(entry.cdr, getattr(import_module(f"{package}.msg"), name))
    return entry.topic, fields(message)


def fields(value: Any) -> Any:
    if hasattr(value, "get_fields_and_field_types"):
        return {slot: fields(getattr(value, slot)) for slot in value.get_fields_and_field_types()}
    if isinstance(value, list):
        return [fields(entry) for entry in value]
    return value.tobytes() if hasattr(value, "tobytes") else value


def test_each_lap_gives_the_same_detections(drive: Drive):
    assert all(lap == drive.laps[0] for lap in drive.laps[1:])


def test_the_laps_hold_detections(drive: Drive):
    """What would make the test before worth nothing: laps of nothing."""
    boxes = [entry["detections"] for topic, entry in drive.laps[0] if topic.endswith("detections_3d")]
    assert len(boxes) == 3 and any(boxes)
    assert boxes[0][0]["id"] == "1"


def test_detections_do_not_wait_for_the_segmenter(drive: Drive):
    stages = drive.stage_ms
    sooner = np.array(stages["camera_latency"]) - stages["detections_latency"]
    assert len(sooner) == 3 * LAPS
    assert (sooner > 0.9 * np.array(stages["segmenter_network"])).all()
