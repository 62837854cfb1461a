"""Who is on a topic, and under which type."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo

from avperception.errors import ConfigurationError
from avperception.nodes.start_errors import RCLError


def type_name(message_type: type[Any]) -> str:
    """Name a message's type as the graph does: package/msg/Name."""
    package, kind = message_type.__module__.split(".")[:2]
    return f"{package}/{kind}/{message_type.__name__}"


class Topic(Protocol):
    """An input or an output of the node."""

    @property
    def topic(self) -> str: ...

    @property
    def message_type(self) -> type[Any]: ...


def check_types(topics: Iterable[Topic]) -> None:
    """Raise ConfigurationError if remaps give one topic two types within the node."""
    known: dict[str, type[Any]] = {}
    for entry in topics:
        other = known.setdefault(entry.topic, entry.message_type)
        if other is not entry.message_type:
            raise ConfigurationError(
                f"{entry.topic} cannot be {type_name(other)} and {type_name(entry.message_type)}: "
                "check the remaps"
            )


@contextmanager
def one_type(node: Node, topic: str, message_type: type[Any]) -> Iterator[None]:
    """Raise ConfigurationError for what rcl raises when this process has the topic with another type."""
    try:
        yield
    except RCLError as error:
        found = {info.topic_type for info in endpoints_of(node, topic)} - {type_name(message_type)}
        if not found:
            raise
        raise ConfigurationError(
            f"{topic} cannot be {type_name(message_type)}, it is {', '.join(sorted(found))} in this process: "
            "check the remaps"
        ) from error


def endpoints_of(node: Node, topic: str) -> list[TopicEndpointInfo]:
    """Give all publishers and subscriptions of a topic, by its resolved name."""
    return [*node.get_publishers_info_by_topic(topic), *node.get_subscriptions_info_by_topic(topic)]


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
