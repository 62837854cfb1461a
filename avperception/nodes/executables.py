"""The executables of the package: each loads its node, which takes a second in which Ctrl-C is no error."""

from __future__ import annotations

import importlib
import os
import signal
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def perception() -> None:
    """Run the node `perception`."""
    _run("perception")


def visualizer() -> None:
    """Run the node `visualizer`."""
    _run("visualizer")


def bag_player() -> None:
    """Run the node `bag_player`."""
    _run("bag_player")


def synthetic_road() -> None:
    """Run the player of the synthetic road."""
    _run("synthetic_road")


def _run(name: str) -> None:
    for number in SIGNALS:
        signal.signal(number, _leave)  # until the node has its own
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # which a launch blocks while Python itself starts
    module = importlib.import_module(f"avperception.nodes.{name}")
    module.main()


def _leave(number: int, frame: FrameType | None) -> None:
    # Nothing has begun that would have to be put in order, and an exception in the midst of an import
    # would come out as a traceback, or not at all.
    os._exit(0)
