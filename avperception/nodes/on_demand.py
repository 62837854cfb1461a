"""Subscriptions that exist only while what they bring is wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from avperception.nodes import qos


class Wanted(NamedTuple):
    """One topic to subscribe to: `profile` makes its QoS, which the usual parameters override."""

    message_type: type[Any]
    topic: str
    callback: Callable[[Any], None]
    profile: Callable[[], QoSProfile]


class OnDemand:
    """Switches a group of subscriptions on and off."""

    def __init__(self, node: Node, entries: Sequence[Wanted]) -> None:
        self._node = node
        self._entries = tuple(entries)
        self._subscriptions: list[Subscription] = []

    @property
    def is_on(self) -> bool:
        """Whether the subscriptions exist."""
        return bool(self._subscriptions)

    def switch(self, on: bool) -> None:
        """Subscribe or unsubscribe; what is so already stays."""
        if on and not self._subscriptions:
            self._subscriptions = [self._subscribe(entry) for entry in self._entries]
        elif not on:
            while self._subscriptions:
                self._node.destroy_subscription(self._subscriptions.pop())

    def _subscribe(self, entry: Wanted) -> Subscription:
        return self._node.create_subscription(
            entry.message_type,
            entry.topic,
            entry.callback,
            entry.profile(),
            qos_overriding_options=qos.overridable(),
        )
