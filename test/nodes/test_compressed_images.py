"""A camera that sends JPEG: each image is decoded or counted, and who looks at a result sees its pixels."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
from road import PLAN, STEP, WITHOUT_NETWORKS, Road, settled_road, stamped
from sensor_msgs.msg import CompressedImage

from avperception.replay.driver import ReplayDriver
from avperception.replay.plan import CameraTopics, ReplayPlan

TOPIC = "/front/image_raw/compressed"

PIXELS = cv2.resize(np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14, (48, 32))
JPEG = cv2.imencode(".jpg", PIXELS)[1].tobytes()
PNG = cv2.imencode(".png", PIXELS)[1].tobytes()


@pytest.fixture(scope="module")
def road() -> Iterator[Road]:
    """One node for many messages."""
    camera = CameraTopics("front", TOPIC, True, PLAN.cameras[0].info)
    plan = ReplayPlan((camera,), PLAN.points, PLAN.transforms, None)
    with ReplayDriver(plan, {**WITHOUT_NETWORKS, "front.transport": "compressed"}) as driver:
        yield settled_road(driver)


def message(data: bytes, stamp_ns: int) -> CompressedImage:
    made = CompressedImage(format="bgr8; jpeg compressed bgr8", data=array("B", data))
    return stamped(made, stamp_ns, "front_camera_optical")


def table_lost(data: bytes) -> bytes:
    """A JPEG whose frame header asks for a quantization table that it does not hold."""
    place = data.index(b"\xff\xc0") + 12
    return data[:place] + b"\x03" + data[place + 1 :]


@pytest.mark.parametrize("data", [JPEG, PNG], ids=["JPEG", "PNG"])
def test_the_image_of_a_result_has_its_pixels(road: Road, data: bytes):
    road.wait(STEP)
    ((result, image),) = road.send(TOPIC, message(data, road.now_ns)).cameras
    assert (result.width, result.height, result.stamp_ns) == (48, 32, road.now_ns)
    assert np.abs(image.data.astype(int) - PIXELS).mean() < 3.0


BAD: dict[str, Callable[[], bytes]] = {
    "cut off": lambda: JPEG[:-20],
    "cut off within the header": lambda: JPEG[:100],
    "a table lost": lambda: table_lost(JPEG),
    "text": lambda: b"no picture",
    "nothing": lambda: b"",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_is_counted_and_the_next_is_used(road: Road, kind: str):
    road.wait(STEP)
    before = road.dropped()
    assert not road.send(TOPIC, message(BAD[kind](), road.now_ns)).cameras
    assert road.dropped() - before == Counter(undecodable=1)
    road.wait(STEP)
    assert len(road.send(TOPIC, message(JPEG, road.now_ns)).cameras) == 1


def test_engines_says_what_decodes(road: Road):
    (engines,) = (s for s in road.driver.node.health.statuses() if s.name == "perception: engines")
    assert {"JPEG images": "OpenCV"}.items() <= {item.key: item.value for item in engines.values}.items()
