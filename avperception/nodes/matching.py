"""Which publishers and subscriptions can pass messages to each other."""

from __future__ import annotations

from collections.abc import Iterable

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

UNKNOWN = "_NODE_NAME_UNKNOWN_"
"""How a node is called whose endpoint was found before itself."""


def serves(offered: QoSProfile, wanted: QoSProfile) -> bool:
    """Tell whether a subscription that wants this QoS gets the messages of a publisher that offers that."""
    reliable, latched = ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL
    return (offered.reliability == reliable or wanted.reliability != reliable) and (
        offered.durability == latched or wanted.durability != latched
    )


def lacking(offered: QoSProfile, wanted: QoSProfile) -> str:
    """Name the policies for which a publisher does not serve a subscription, as offered."""
    policies = ((offered.reliability, wanted.reliability), (offered.durability, wanted.durability))
    stricter = (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL)
    return ", ".join(have.name for have, want in policies if want in stricter and have != want)


def known(endpoints: Iterable[TopicEndpointInfo]) -> list[TopicEndpointInfo]:
    """Leave out endpoints whose node is not known yet: it is a moment later."""
    return [info for info in endpoints if info.node_name != UNKNOWN]
