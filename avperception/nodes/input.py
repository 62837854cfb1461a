"""A topic the node subscribes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo

from avperception.errors import MessageError
from avperception.nodes import qos
from avperception.nodes.endpoints import node_names, one_type, problems_of_type
from avperception.nodes.intake import Intake, LeftAlone
from avperception.nodes.matching import known, lacking, serves
from avperception.nodes.serialized import load_rcl
from avperception.pipeline.device import MakeMemory

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble has it elsewhere
    from rclpy.qos_event import SubscriptionEventCallbacks


class Input:
    """A subscription that exists while the node is active and notices publishers that cannot match.

    A topic that `is_shared` may have several publishers. Large messages come by another way (`Intake`), for
    which `on_bad` is to be given: it gets what cannot be read, and the callback messages whose arrays are
    NumPy's, in memory from `make_memory` if that is given.
    """

    def __init__(
        self,
        node: LifecycleNode,
        message_type: type[Any],
        topic: str,
        callback: Callable[[Any], None],
        profile: QoSProfile | None = None,
        *,
        is_shared: bool = False,
        on_bad: Callable[[MessageError], None] | None = None,
        make_memory: MakeMemory | None = None,
    ) -> None:
        self._node = node
        self.message_type = message_type
        self._name = topic
        self._callback = callback
        self._profile = profile or qos.sensor()
        self._subscription: Subscription | None = None
        self._is_shared = is_shared
        self._on_bad = on_bad
        self._make_memory = make_memory
        self._intake: Intake | None = None
        self._told: set[str] = set()

    def start(self) -> None:
        """Subscribe; raises ConfigurationError if this process has the topic with another type."""
        rcl = load_rcl() if self._on_bad else None
        with one_type(self._node, self.topic, self.message_type):
            self._subscription = self._node.create_subscription(
                self.message_type,
                self._name,
                self._callback,
                self._profile,
                callback_group=LeftAlone() if rcl else None,
                # Who cannot match is looked for in `problems`: an event comes before its node's name is
                # known, and costs the executor time with every message.
                event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
                qos_overriding_options=qos.overridable(),
            )
        if rcl and self._on_bad:
            self._intake = Intake(
                self._node, self._subscription, rcl, self._callback, self._on_bad, self._make_memory
            )

    def stop(self) -> None:
        """Unsubscribe."""
        if self._intake is not None:
            self._intake.destroy()
            self._intake = None
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    @property
    def topic(self) -> str:
        """The topic's resolved name."""
        return str(self._node.resolve_topic_name(self._name))

    @property
    def whereabouts(self) -> str:
        """The topic, and who publishes there."""
        names = node_names(known(self._node.get_publishers_info_by_topic(self.topic)))
        return f"{self.topic} ({'published by ' + ', '.join(names) if names else 'no publisher'})"

    def problems(self) -> list[str]:
        """Say what stands in the way on this topic, each in a few words: QoS, types, too many publishers.

        A publisher that cannot match is logged when it is first seen.
        """
        publishers = known(self._node.get_publishers_info_by_topic(self.topic))
        found = problems_of_type(self.topic, self.message_type, publishers)
        unmatched = self._unmatched(publishers)
        if unmatched:
            found.append(f"incompatible QoS on {self.topic}: {', '.join(unmatched)}")
        if len(publishers) > 1 and not self._is_shared:
            found.append(f"{len(publishers)} publishers on {self.topic}: {', '.join(node_names(publishers))}")
        return found

    def _unmatched(self, publishers: Sequence[TopicEndpointInfo]) -> list[str]:
        """Name the publishers whose QoS cannot serve the subscription, with what they offer."""
        unmatched = sorted(
            f"{node_names([info])[0]} ({lacking(info.qos_profile, self._profile)})"
            for info in publishers
            if not serves(info.qos_profile, self._profile)
        )
        for name in unmatched:
            if name not in self._told and self._subscription is not None:
                self._node.get_logger().warning(
                    f"{self.topic}: {name} offers a QoS that this subscription cannot use"
                )
        self._told = set(unmatched)
        return unmatched
