"""How a launch ends: by Ctrl-C, with its recording, or because a node refuses its parameters."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Any

from launch.action import Action
from launch.actions import RegisterEventHandler, Shutdown
from launch.event_handlers import OnProcessExit, OnProcessStart
from launch.launch_context import LaunchContext
from launch_ros.actions import Node

from avperception.errors import AvperceptionError
from avperception.nodes.process import EXIT_BAD_INPUT

BLOCKS_SIGNALS_S = 0.3
"""By then a process that was started holds signals back until its executable has handlers."""


def interrupt_between_steps() -> None:
    """Let Ctrl-C not break into what a launch is just doing: a process that it is starting would be lost.

    The launch goes on to hear of signals from its event loop. Once it is over, Ctrl-C is what it was.
    A launch that a script starts by `&` ignores SIGINT, its nodes do not: they would be started again.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_IGN):
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        signal.default_int_handler(number, frame)


def when_refused(node: Node) -> Action:
    """End the launch when a node refuses its parameters: started again it would refuse them again."""
    return RegisterEventHandler(OnProcessExit(target_action=node, on_exit=_refuse))


def when_over(player: Node) -> Action:
    """End the launch with the recording."""

    def end(event: Any, context: LaunchContext) -> list[Action]:
        if context.is_shutdown:
            return []
        return _refuse(event, context) or [Shutdown(reason="the recording is over")]

    return RegisterEventHandler(OnProcessExit(target_action=player, on_exit=end))


def when_started(node: Node) -> Action:
    """End what was about to start at Ctrl-C: the terminal's signal, which launch counts on, missed it."""

    def end(event: Any, context: LaunchContext) -> list[Action]:
        if context.is_shutdown:
            context.asyncio_loop.call_later(BLOCKS_SIGNALS_S, _interrupt_process, event.pid)
        return []

    return RegisterEventHandler(OnProcessStart(target_action=node, on_start=end))


def _interrupt_process(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)


def _refuse(event: Any, context: LaunchContext) -> list[Action]:
    if event.returncode == EXIT_BAD_INPUT and not context.is_shutdown:
        raise AvperceptionError(f"{event.process_name} cannot start, its last line above says why")
    return []
