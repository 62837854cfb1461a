"""A topic the node publishes."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile

from avperception.nodes import qos
from avperception.nodes.endpoints import endpoints_of, one_type, problems_of_type


class Output:
    """A lifecycle publisher that knows whether anybody listens and how much it has sent.

    Making it raises ConfigurationError if this process has the topic with another type.
    """

    def __init__(
        self, node: LifecycleNode, message_type: type[Any], topic: str, profile: QoSProfile | None = None
    ) -> None:
        with one_type(node, str(node.resolve_topic_name(topic)), message_type):
            self._publisher = node.create_lifecycle_publisher(
                message_type, topic, profile or qos.result(), qos_overriding_options=qos.overridable()
            )
        self._node = node
        self.message_type = message_type
        self.sent = 0

    @property
    def topic(self) -> str:
        """The topic's resolved name."""
        return str(self._publisher.topic_name)

    @property
    def is_wanted(self) -> bool:
        """True when the node is active and somebody subscribes: else the message need not be made."""
        return bool(self._publisher.is_activated and self._publisher.get_subscription_count())

    def publish(self, message: Any) -> None:
        """Send a message, unless the node is not active."""
        if self._publisher.is_activated:
            self._publisher.publish(message)
            self.sent += 1

    def problems(self) -> list[str]:
        """Say who has the topic under another type, each in a few words."""
        return problems_of_type(self.topic, self.message_type, endpoints_of(self._node, self.topic))

    def destroy(self) -> None:
        """Take the topic back."""
        self._node.destroy_lifecycle_publisher(self._publisher)
