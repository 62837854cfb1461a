"""A topic between real nodes whose messages are taken as bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import rclpy
from line import Line

from avperception.nodes.serialized import Rcl, load_rcl
from avperception.pipeline.device import MakeMemory


@pytest.fixture
def rcl() -> Rcl:
    found = load_rcl()
    assert found is not None, "every ROS 2 installation has librcl.so"
    return found


@pytest.fixture
def line(rcl: Rcl) -> Iterator[Callable[..., Line]]:
    """Makes a line of a message type, in memory of a kind; it is ended, with ROS, after the test."""
    rclpy.init()
    node = rclpy.create_node("line")
    made: list[Line] = []

    def make(message_type: type[Any], make_memory: MakeMemory | None = None) -> Line:
        made.append(Line(node, rcl, message_type, make_memory))
        made[0].spin(lambda: made[0].publisher.get_subscription_count() > 0)
        return made[0]

    yield make
    for one in made:
        one.close()
    node.destroy_node()
    rclpy.shutdown()
