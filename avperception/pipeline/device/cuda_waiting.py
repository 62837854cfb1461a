"""How a host's thread waits for a GPU: it sleeps through the better part and looks often at the end."""

from __future__ import annotations

import time
from collections.abc import Callable

ASLEEP = 0.85
"""The part of the usual time that a thread which waits sleeps through."""

SHORTEST_SLEEP_S = 100e-6
"""Below this a sleep costs more than it saves."""

LOOK_PERIOD_S = 20e-6
"""Between two looks; the kernel adds about 60 microseconds of its own."""


class Patience:
    """Waits for something that takes about as long each time.

    CUDA's own sleep wakes up 0.1 ms late (H200), and to ask all the time would cost a core.
    """

    def __init__(self) -> None:
        self._typical_s = 0.0

    def sleep(self, begun_s: float) -> None:
        """Sleep for the better part of the usual time since it began (`time.perf_counter`)."""
        remaining_s = ASLEEP * self._typical_s - (time.perf_counter() - begun_s)
        if remaining_s > SHORTEST_SLEEP_S:
            time.sleep(remaining_s)

    def learn(self, begun_s: float) -> None:
        """Note that it is there now."""
        took_s = time.perf_counter() - begun_s
        # Downward at once, upward slowly: one late frame must not make the next ones late.
        self._typical_s = min(took_s, 1.1 * self._typical_s) if self._typical_s else took_s

    def look_until(self, is_there: Callable[[], bool], begun_s: float) -> None:
        """Wait until it is there, without a call of CUDA and without the processor."""
        self.sleep(begun_s)
        while not is_there():
            time.sleep(LOOK_PERIOD_S)
        self.learn(begun_s)
