"""Who else is on a topic, as the ROS graph tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rclpy.topic_endpoint_info import TopicEndpointInfo


def type_name(message_type: type[Any]) -> str:
    """Name a message's type as the graph does: package/msg/Name."""
    package, kind = message_type.__module__.split(".")[:2]
    return f"{package}/{kind}/{message_type.__name__}"


def node_names(endpoints: Sequence[TopicEndpointInfo]) -> list[str]:
    """Name the nodes of endpoints in full, each as often as it has one."""
    return sorted(f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in endpoints)


def problems_of_type(
    topic: str, message_type: type[Any], endpoints: Sequence[TopicEndpointInfo]
) -> list[str]:
    """Say which endpoints of a topic have another type than the node, so that no message passes."""
    own = type_name(message_type)
    others = sorted({info.topic_type for info in endpoints} - {own})
    return [
        f"{topic} is {other} for {', '.join(node_names([e for e in endpoints if e.topic_type == other]))}, "
        f"the node has {own} there: check the remaps"
        for other in others
    ]
