"""A node of a command that looks at running nodes: it takes part for as long as the command lasts."""

from __future__ import annotations

import os
import time
from types import TracebackType

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import try_shutdown

from avperception.errors import ConfigurationError
from avperception.nodes.start_errors import START_ERRORS, one_line


class Guest:
    """ROS and one node, started on entering; `spin` takes what comes.

    Entering raises ConfigurationError where ROS cannot be started.
    """

    def __init__(self, name: str) -> None:
        self._name = f"{name}_{os.getpid()}"

    def __enter__(self) -> Guest:
        try:
            # Ctrl-C is for the command.
            rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
            self.node = Node(self._name, use_global_arguments=False)
        except START_ERRORS as error:
            try_shutdown()
            raise ConfigurationError(f"ROS cannot be started: {one_line(error)}") from error
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        try_shutdown()

    def spin(self, seconds: float) -> None:
        """Take what comes for this long."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)
