"""A publisher and an intake of one topic, and the images that go from one to the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from avperception.errors import MessageError
from avperception.nodes.intake import Intake, LeftAlone
from avperception.nodes.serialized import Rcl
from avperception.pipeline.device import MakeMemory

RELIABLE = QoSProfile(depth=10)


class Line:
    """A publisher and an intake of one topic."""

    def __init__(
        self, node: Node, rcl: Rcl, message_type: type[Any], make_memory: MakeMemory | None = None
    ) -> None:
        self.taken: list[Any] = []
        self.bad: list[MessageError] = []
        self.node = node
        self.is_closed = False
        self.publisher = node.create_publisher(message_type, "line", RELIABLE)
        self.subscription = node.create_subscription(
            message_type, "line", lambda message: pytest.fail("rclpy took it"), RELIABLE,
            callback_group=LeftAlone(),
        )  # fmt: skip
        self.intake = Intake(node, self.subscription, rcl, self.taken.append, self.bad.append, make_memory)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)

    def spin(self, until: Callable[[], bool], timeout_s: float = 20.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not until() and time.monotonic() < end_s:
            self._executor.spin_once(timeout_sec=0.05)
        assert until()

    def close(self) -> None:
        """End it, once."""
        if self.is_closed:
            return
        self.is_closed = True
        self.intake.destroy()
        self.node.destroy_subscription(self.subscription)
        self._executor.shutdown()


def picture(seed: int, height: int = 40, width: int = 60) -> Image:
    message = Image(height=height, width=width, step=3 * width, encoding="rgb8")
    message.header.frame_id = "front"
    message.header.stamp.sec, message.header.stamp.nanosec = seed, 5
    message.data = np.random.default_rng(seed).integers(0, 256, 3 * height * width, np.uint8).tobytes()
    return message
