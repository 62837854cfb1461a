"""The real perception node beside a plain one, in one process, on wall-clock time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions

from avperception.nodes.perception import PerceptionNode

NO_NETWORKS = {"detector.model": "", "segmenter.model": ""}
SUCCESS = TransitionCallbackReturn.SUCCESS


class Rig:
    """Starts ROS, the node and a companion; `spin_until` turns both."""

    def __init__(self, parameters: dict[str, Any] | None = None, ros_args: Sequence[str] = ()) -> None:
        self._overrides = {**NO_NETWORKS, **(parameters or {})}
        self._ros_args = ros_args

    def __enter__(self) -> Rig:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        try:
            self.node = PerceptionNode(
                cli_args=["--ros-args", *self._ros_args] if self._ros_args else None,
                parameter_overrides=[Parameter(name, value=value) for name, value in self._overrides.items()],
            )
            self.companion = Node("companion", use_global_arguments=False)
        except BaseException:
            rclpy.shutdown()
            raise
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._executor.add_node(self.companion)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self.companion.destroy_node()
        rclpy.shutdown()

    def start(self) -> Rig:
        """Configure and activate."""
        assert self.node.trigger_configure() == SUCCESS
        assert self.node.trigger_activate() == SUCCESS
        return self

    def spin_until(self, done: Callable[[], Any], timeout_s: float = 10.0) -> None:
        end = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < end, "the node did not get there in time"
            self._executor.spin_once(timeout_sec=0.01)

    def spin_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.01)

    def collect(self, message_type: type[Any], topic: str, qos: QoSProfile | int = 10) -> list[Any]:
        """The list that the messages of a topic go to from now on."""
        messages: list[Any] = []
        self.companion.create_subscription(message_type, topic, messages.append, qos)
        return messages

    def publisher(self, message_type: type[Any], topic: str, qos: QoSProfile | int = 10) -> Any:
        """A publisher that the node's subscription has found."""
        publisher = self.companion.create_publisher(message_type, topic, qos)
        self.spin_until(publisher.get_subscription_count)
        return publisher

    def describe(self, name: str) -> ParameterDescriptor:
        return self.node.describe_parameter(name)

    def set(self, **values: Any) -> Any:
        """Set one or more parameters at once (`__` stands for a dot); gives rclpy's answer."""
        parameters = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
        return self.node.set_parameters_atomically(parameters)

    def topics(self) -> dict[str, str]:
        """Topics and types that the node publishes or subscribes to."""
        found = {}
        for listing in (
            self.companion.get_publisher_names_and_types_by_node,
            self.companion.get_subscriber_names_and_types_by_node,
        ):
            found.update({topic: types[0] for topic, types in listing("perception", "/")})
        return found
