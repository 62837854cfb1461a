"""Hears `/diagnostics`, for programs that are no node themselves."""

from __future__ import annotations

import time
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile

from avperception.nodes.guest import Guest

TOPIC = "/diagnostics"


@dataclass(frozen=True)
class HeardStatus:
    """A status of diagnostic_msgs: `level` is 0 (OK), 1 (WARN), 2 (ERROR) or 3 (STALE); heard at `heard_s`.

    `heard_s` is of time.monotonic().
    """

    name: str
    level: int
    message: str
    values: dict[str, str]
    heard_s: float


class DiagnosticsListener(Guest):
    """Keeps the newest status of each name while it spins; use it as a context manager."""

    def __init__(self) -> None:
        super().__init__("avperception_top")
        self.statuses: dict[str, HeardStatus] = {}

    def __enter__(self) -> DiagnosticsListener:
        super().__enter__()
        # What several nodes report comes at once; volatile and reliable, as diagnostic_updater publishes.
        self.node.create_subscription(DiagnosticArray, TOPIC, self._hear, QoSProfile(depth=100))
        return self

    def _hear(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.statuses[status.name] = HeardStatus(
                name=status.name,
                level=status.level[0],
                message=status.message,
                values={item.key: item.value for item in status.values},
                heard_s=time.monotonic(),
            )
