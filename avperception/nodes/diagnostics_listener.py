"""Hears `/diagnostics`, for programs that are no node themselves."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from types import TracebackType

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import try_shutdown

from avperception.errors import ConfigurationError
from avperception.nodes.start_errors import START_ERRORS, one_line

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


class DiagnosticsListener:
    """Keeps the newest status of each name while `listen` runs; use it as a context manager.

    Entering raises ConfigurationError where ROS cannot be started.
    """

    def __init__(self) -> None:
        self.statuses: dict[str, HeardStatus] = {}
        self.arrays = 0

    def __enter__(self) -> DiagnosticsListener:
        try:
            # Ctrl-C is for the program that listens.
            rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
            self._node = Node(f"avperception_top_{os.getpid()}", use_global_arguments=False)
        except START_ERRORS as error:
            try_shutdown()
            raise ConfigurationError(f"ROS cannot be started: {one_line(error)}") from error
        # What several nodes report comes at once; volatile and reliable, as diagnostic_updater publishes.
        self._node.create_subscription(DiagnosticArray, TOPIC, self._hear, QoSProfile(depth=100))
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        try_shutdown()

    def listen(self, seconds: float) -> None:
        """Take what comes for this long."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def _hear(self, message: DiagnosticArray) -> None:
        self.arrays += 1
        for status in message.status:
            self.statuses[status.name] = HeardStatus(
                name=status.name,
                level=status.level[0],
                message=status.message,
                values={item.key: item.value for item in status.values},
                heard_s=time.monotonic(),
            )
