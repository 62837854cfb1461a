"""A node on a simulated road: messages made by hand, sent in lock step by the replay driver."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from tf2_msgs.msg import TFMessage

from avperception.bags import BagMessage
from avperception.replay.driver import ReplayDriver, Results
from avperception.replay.plan import CameraTopics, ReplayPlan
from avperception.types import FusedResult

SECOND = 1_000_000_000
STEP = SECOND // 10
START = 1_000 * SECOND
IMAGE, INFO, POINTS = "/front/image_raw", "/front/camera_info", "/points"
PLAN = ReplayPlan(
    cameras=(CameraTopics("front", IMAGE, False, INFO),),
    points=POINTS,
    transforms=("/tf_static", "/tf"),
    truth=None,
)
WITHOUT_NETWORKS = {"detector.model": "", "segmenter.model": "", "cameras": ["front"]}


class Road:
    """A node without networks under way, and a clock that the messages move on."""

    def __init__(self, driver: ReplayDriver) -> None:
        self.driver = driver
        self.now_ns = START
        self.fused: list[FusedResult] = []

    def send(self, topic: str, message: Any, at_ns: int | None = None) -> Results:
        """Send a message at the present time, wait until the node has dealt with it."""
        module, name = type(message).__module__.partition(".")[0], type(message).__name__
        stamp_ns = self.now_ns if at_ns is None else at_ns
        message = BagMessage(topic, f"{module}/msg/{name}", stamp_ns, serialize_message(message))
        self.driver.play(message)
        return self.settle()

    def settle(self) -> Results:
        results = self.driver.settle()
        self.fused += results.fused
        return results

    def wait(self, nanoseconds: int) -> Results:
        self.now_ns += nanoseconds
        self.driver.advance(self.now_ns)
        return self.settle()

    def source(self, name: str) -> Any:
        node = self.driver.node
        everything = [*node.sources, node.fusion.source]
        return next(source for source in everything if source.name == name)

    def dropped(self) -> Counter[str]:
        node = self.driver.node
        return sum((Counter(s.dropped) for s in [*node.sources, node.fusion.source]), Counter())


def stamped(message: Any, stamp_ns: int, frame_id: str) -> Any:
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, SECOND)
    message.header.frame_id = frame_id
    return message


def image(stamp_ns: int, **changes: Any) -> Image:
    message = Image(encoding="bgr8", width=8, height=4, step=24, data=array("B", bytes(96)))
    for name, value in changes.items():
        setattr(message, name, value)
    return stamped(message, stamp_ns, "front_camera_optical")


def camera_info(stamp_ns: int, **changes: Any) -> CameraInfo:
    message = CameraInfo(width=8, height=4, distortion_model="plumb_bob", d=[0.0] * 5)
    message.k = [5.0, 0, 3.5, 0, 5.0, 1.5, 0, 0, 1]
    for name, value in changes.items():
        setattr(message, name, value)
    return stamped(message, stamp_ns, "front_camera_optical")


def sweep(
    stamp_ns: int, frame_id: str = "lidar", points: np.ndarray | None = None, **changes: Any
) -> PointCloud2:
    if points is None:
        points = np.random.default_rng(0).uniform([2, -10, -1.7], [40, 10, 2], (200, 3))
    raw = np.ascontiguousarray(points, np.float32)
    message = PointCloud2(height=1, width=len(raw), point_step=12, row_step=12 * len(raw))
    message.fields = [PointField(name=n, offset=4 * i, datatype=7, count=1) for i, n in enumerate("xyz")]
    message.data = array("B", raw.tobytes())
    for name, value in changes.items():
        setattr(message, name, value)
    return stamped(message, stamp_ns, frame_id)


def transform(parent: str, child: str, stamp_ns: int = START, **quaternion: float) -> TFMessage:
    message = stamped(TransformStamped(child_frame_id=child), stamp_ns, parent)
    message.transform.translation.z = 1.7
    for name, value in (quaternion or {"w": 1.0}).items():
        setattr(message.transform.rotation, name, value)
    return TFMessage(transforms=[message])


def start(**parameters: Any) -> ReplayDriver:
    return ReplayDriver(PLAN, {**WITHOUT_NETWORKS, **parameters})


def settled_road(driver: ReplayDriver) -> Road:
    """A road with transforms and calibration."""
    road = Road(driver)
    road.send("/tf_static", transform("base_link", "lidar"))
    road.send("/tf_static", transform("base_link", "front_camera_optical"))
    road.send(INFO, camera_info(START))
    return road
