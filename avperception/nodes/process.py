"""One node as a process of its own: from rclpy's start to an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn, TypeVar

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import try_shutdown

from avperception.nodes.memory import tune_malloc
from avperception.nodes.start_errors import START_ERRORS, one_line
from avperception.nodes.transport import use_shared_memory_profile

NodeType = TypeVar("NodeType", bound=Node)

EXIT_BAD_INPUT = 2
EXIT_GPU_LOST = 3
SIGNALS = (signal.SIGINT, signal.SIGTERM)

WAKE_PERIOD_S = 0.1
"""How long a signal may wait for the executor: Python sees it only when rcl's wait comes back."""


def run_node(
    program: str,
    make_node: Callable[[], NodeType],
    *,
    args: list[str] | None = None,
    begin: Callable[[NodeType], None] = lambda node: None,
) -> NoReturn:
    """Make a node, let it `begin`, and spin it until a signal or a shutdown; then exit with 0.

    An argument or parameter that cannot be used is one line on stderr, headed by `program`, and code 2.
    Messages go through shared memory, and malloc keeps their buffers (see docs/transport.md).
    """
    exit_code = 0
    node: NodeType | None = None
    signals = _Signals()
    try:
        signals.take()
        memory = tune_malloc()
        transport = use_shared_memory_profile()
        # rclpy's own handlers would take the context away from threads that are about to publish.
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = make_node()
        node.get_logger().info(f"{memory.detail}; {transport.detail}")
        begin(node)
        signals.only_noted()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not signals.received:
            executor.spin_once(timeout_sec=WAKE_PERIOD_S)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception as error:
        if not signals.received:  # an import or rcl that a signal met may raise anything
            if not isinstance(error, START_ERRORS):
                raise
            print(f"{program}: {one_line(error)}", file=sys.stderr)
            exit_code = EXIT_BAD_INPUT
    finally:
        signals.only_noted()
        if node is not None:
            node.destroy_node()
        try_shutdown()
    signals.ignore()
    sys.exit(exit_code)


def end_at_once(reason: str) -> NoReturn:
    """End the process from any thread, one line on stderr, exit code 3: for a GPU that answers no more.

    Nothing is cleaned up, for CUDA would fail or hang at it; the launch file starts the process again.
    """
    print(f"perception: {reason}", file=sys.stderr, flush=True)
    os._exit(EXIT_GPU_LOST)


class _Signals:
    """SIGINT and SIGTERM: they break off a start; later ones are noted, so that all ends in good order.

    `ros2 launch` sends its own SIGINT to who has had one from the terminal: the second disturbs nothing.
    """

    def __init__(self) -> None:
        self.received = False
        self._breaks_off = True

    def take(self) -> None:
        """From now on signals come here."""
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def only_noted(self) -> None:
        """From now on signals interrupt nothing; `received` tells of them."""
        self._breaks_off = False

    @staticmethod
    def ignore() -> None:
        """Take no notice any more: while Python ends, what is not ignored kills."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        if self._breaks_off:
            self._breaks_off = False
            raise KeyboardInterrupt
