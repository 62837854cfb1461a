"""A topic the node publishes."""

from __future__ import annotations

from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.topic_endpoint_info import TopicEndpointTypeEnum

from avperception.nodes import qos
from avperception.nodes.endpoints import endpoints_of, node_names, one_type, problems_of_type
from avperception.nodes.matching import known, serves
from avperception.nodes.serialized import load_rcl
from avperception.types import UInt8

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble has it elsewhere
    from rclpy.qos_event import PublisherEventCallbacks


class Output:
    """A lifecycle publisher that knows whether anybody listens and how much it has sent.

    Making it raises ConfigurationError if this process has the topic with another type.
    """

    def __init__(
        self, node: LifecycleNode, message_type: type[Any], topic: str, profile: QoSProfile | None = None
    ) -> None:
        self._profile = profile or qos.result()
        with one_type(node, str(node.resolve_topic_name(topic)), message_type):
            self._publisher = node.create_lifecycle_publisher(
                message_type,
                topic,
                self._profile,
                # Whatever the executor waits for costs it 15 us each time it wakes up, for every message:
                # who cannot be served is looked for in `problems` instead.
                event_callbacks=PublisherEventCallbacks(use_default_callbacks=False),
                qos_overriding_options=qos.overridable(),
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

    def publish_serialized(self, data: UInt8) -> None:
        """Send a serialized message, contiguous bytes (N,), unless the node is not active.

        For large ones: Python's lock is free meanwhile.
        """
        if self._publisher.is_activated:
            rcl = load_rcl()
            if rcl is None:
                self._publisher.publish(data.tobytes())
            else:
                rcl.publish(self._publisher, data)
            self.sent += 1

    def problems(self) -> list[str]:
        """Say what stands in the way, each in a few words: another type, another QoS, rival publishers."""
        topic = self.topic
        endpoints = known(endpoints_of(self._node, topic))
        found = problems_of_type(topic, self.message_type, endpoints)
        subscriptions = [e for e in endpoints if e.endpoint_type == TopicEndpointTypeEnum.SUBSCRIPTION]
        unserved = [info for info in subscriptions if not serves(self._profile, info.qos_profile)]
        if unserved:
            found.append(f"incompatible QoS on {topic}: {', '.join(node_names(unserved))} gets nothing")
        publishers = [e for e in endpoints if e.endpoint_type == TopicEndpointTypeEnum.PUBLISHER]
        return found + self._rivals(topic, node_names(publishers))

    def _rivals(self, topic: str, publishers: list[str]) -> list[str]:
        """Say who else publishes what is this node's own; a topic it was remapped to may be shared."""
        own = str(self._node.get_fully_qualified_name())
        found = []
        if publishers.count(own) > sum(p.topic_name == topic for p in self._node.publishers):
            found.append(f"another node is called {own} and publishes the same: was it started twice?")
        others = [name for name in publishers if name != own]
        if others and topic.startswith(f"{own}/"):
            found.append(f"rival publishers on {topic}: {', '.join(others)}")
        return found

    def destroy(self) -> None:
        """Take the topic back."""
        self._node.destroy_lifecycle_publisher(self._publisher)
