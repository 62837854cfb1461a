"""What one storage file of a recording gives, whoever reads it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat, Qos, QosDurability

NO_DEFINITION = MessageDefinition(MessageDefinitionFormat.NONE, "")


class BagMessage(NamedTuple):
    """One recorded message: `stamp_ns` is its log time in nanoseconds, `cdr` the serialized message."""

    topic: str
    msgtype: str
    stamp_ns: int
    cdr: bytes


@dataclass(frozen=True)
class BagTopic:
    """One topic of a recording; `qos` holds what its publishers offered, empty where that is not known."""

    name: str
    msgtype: str
    message_count: int
    qos: tuple[Qos, ...] = ()
    definition: MessageDefinition = field(default=NO_DEFINITION, repr=False)

    @property
    def latched(self) -> bool:
        """Whether a publisher keeps messages for late subscribers (transient local), as for /tf_static."""
        return any(profile.durability is QosDurability.TRANSIENT_LOCAL for profile in self.qos)


class Storage(Protocol):
    """One open storage file. `damage` says what of it cannot be read; it may be known only after reading."""

    @property
    def topics(self) -> tuple[BagTopic, ...]: ...

    @property
    def message_count(self) -> int: ...

    @property
    def start_ns(self) -> int: ...

    @property
    def end_ns(self) -> int: ...

    @property
    def damage(self) -> str | None: ...

    def messages(self, topics: Collection[str] | None = None) -> Iterator[BagMessage]:
        """Messages of `topics` (None: all) in log-time order; ends early, with `damage` set, where torn."""
        ...

    def close(self) -> None: ...
