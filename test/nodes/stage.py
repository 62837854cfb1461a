"""Nodes and a companion on one executor, for nodes that are not the perception node."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions


class Stage:
    """Starts ROS and a companion node; `add` puts further nodes beside it."""

    def __enter__(self) -> Stage:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        self.companion = Node("companion", use_global_arguments=False)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.companion)
        self._nodes: list[Node] = [self.companion]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        while self._nodes:
            self._nodes.pop().destroy_node()
        rclpy.try_shutdown()

    def add(self, node: Any) -> Any:
        self._nodes.append(node)
        self._executor.add_node(node)
        return node

    def spin_until(self, done: Callable[[], Any], timeout_s: float = 10.0) -> None:
        end = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < end, "it did not get there in time"
            self._executor.spin_once(timeout_sec=0.01)

    def spin_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.01)

    def collect(self, message_type: type[Any], topic: str, qos: Any = 10) -> list[Any]:
        messages: list[Any] = []
        self.companion.create_subscription(message_type, topic, messages.append, qos)
        return messages
