"""A topic the node subscribes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from avperception.nodes import qos
from avperception.nodes.endpoints import node_names, one_type, problems_of_type

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble has it elsewhere
    from rclpy.qos_event import SubscriptionEventCallbacks


class Input:
    """A subscription that exists while the node is active and notices publishers that cannot match."""

    def __init__(
        self,
        node: LifecycleNode,
        message_type: type[Any],
        topic: str,
        callback: Callable[[Any], None],
        profile: QoSProfile | None = None,
    ) -> None:
        self._node = node
        self.message_type = message_type
        self._name = topic
        self._callback = callback
        self._profile = profile or qos.sensor()
        self._subscription: Subscription | None = None
        self._has_incompatible = False

    def start(self) -> None:
        """Subscribe; raises ConfigurationError if this process has the topic with another type."""
        with one_type(self._node, self.topic, self.message_type):
            self._subscription = self._node.create_subscription(
                self.message_type,
                self._name,
                self._callback,
                self._profile,
                event_callbacks=SubscriptionEventCallbacks(
                    incompatible_qos=self._on_incompatible, use_default_callbacks=False
                ),
                qos_overriding_options=qos.overridable(),
            )

    def stop(self) -> None:
        """Unsubscribe."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    @property
    def topic(self) -> str:
        """The topic's resolved name."""
        return str(self._node.resolve_topic_name(self._name))

    def problems(self) -> list[str]:
        """Say what stands in the way on this topic, each in a few words: QoS, types, too many publishers."""
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        found = problems_of_type(self.topic, self.message_type, publishers)
        unmatched = self.incompatible_publishers()
        if unmatched:
            found.append(f"incompatible QoS on {self.topic}: {', '.join(unmatched)}")
        if len(publishers) > 1:
            found.append(f"{len(publishers)} publishers on {self.topic}: {', '.join(node_names(publishers))}")
        return found

    def incompatible_publishers(self) -> list[str]:
        """Name the publishers whose best effort cannot serve a reliable subscription, with their node."""
        if not self._has_incompatible:
            return []
        return [
            f"{info.node_namespace.rstrip('/')}/{info.node_name} ({info.qos_profile.reliability.name})"
            for info in self._node.get_publishers_info_by_topic(self.topic)
            if (
                info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
                and self._profile.reliability == ReliabilityPolicy.RELIABLE
            )
            or info.qos_profile.durability < self._profile.durability
        ]

    def _on_incompatible(self, event: object) -> None:
        self._has_incompatible = True
        names = ", ".join(self.incompatible_publishers()) or "a publisher"
        self._node.get_logger().warning(
            f"{self.topic}: {names} offers a QoS that this subscription cannot use"
        )
