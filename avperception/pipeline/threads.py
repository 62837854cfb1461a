"""How the threads of a process take turns with Python."""

from __future__ import annotations

import sys

SWITCH_INTERVAL_S = 0.0002
"""How long one thread may keep Python from another that is ready.

Python's own 5 ms are a quarter of what an image may take from its sensor to fusion: with four cameras,
threads with a result in hand waited that long for the one that takes the next image in (docs/transport.md).
"""


def take_short_turns() -> None:
    """Let threads that have little to do in Python have it soon; it is for the whole process."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
