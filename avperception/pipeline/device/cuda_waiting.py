"""How a host's thread waits for a GPU: it sleeps through the better part and is awake at the end."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from contextlib import suppress

ASLEEP = 0.96
"""The part of the usual time that a thread which waits sleeps through."""

AWAKE_S = 30e-6
"""It is awake for no less than this: a look or two before what it waits for is there."""

SHORTEST_SLEEP_S = 50e-6
"""Below this a sleep costs more than it saves."""

SOONER = 0.95
"""By this the usual time shrinks when what is waited for was there after the sleep."""

MOST_OVERSLEPT = 3
"""So often running that is chance; sleeps end late now and then."""

LOOK_PERIOD_S = 20e-6
"""Between two looks; to fall asleep and to wake up takes some more."""

SLACK_NS = 1
"""How late Linux may end a sleep of a thread that waits; without a word 50 microseconds (prctl(2))."""

_PR_SET_TIMERSLACK = 29

_threads = threading.local()


class Patience:
    """Waits for something that takes about as long each time.

    CUDA's own sleep wakes up 0.1 ms late (H200), and to ask all the time would cost a core.
    """

    def __init__(self) -> None:
        self._typical_s = 0.0
        self._overslept = 0

    def wait(self, begun_s: float, is_there: Callable[[], bool], limit_s: float) -> bool:
        """Sleep for the better part, then look again and again whether it is there, for up to `limit_s`.

        It began at `begun_s` (`time.perf_counter`). Tells whether it is there in the end.
        """
        _wake_on_time()
        has_slept = self._sleep(begun_s)
        if is_there():
            self._learn_from_one_that_was_there(begun_s, has_slept)
            return True
        has_come = self._look(is_there, limit_s)
        took_s = time.perf_counter() - begun_s
        self._overslept = 0
        if took_s > limit_s:
            self._typical_s = 0.0
        else:  # Downward at once, upward slowly: one late frame must not make the next ones late.
            self._typical_s = min(took_s, 1.1 * self._typical_s) if self._typical_s else took_s
        return has_come

    def _learn_from_one_that_was_there(self, begun_s: float, has_slept: bool) -> None:
        if not has_slept:  # who comes late does not know how long it took, but that it took no longer
            self._typical_s = min(self._typical_s, time.perf_counter() - begun_s)
        elif self._overslept < MOST_OVERSLEPT:
            self._typical_s, self._overslept = SOONER * self._typical_s, self._overslept + 1
        else:  # it has become faster for good: the next is waited for awake, and timed
            self._typical_s, self._overslept = 0.0, 0

    def _sleep(self, begun_s: float) -> bool:
        """Sleep for the better part of the usual time, if that is worth it."""
        asleep_s = min(ASLEEP * self._typical_s, self._typical_s - AWAKE_S)
        remaining_s = asleep_s - (time.perf_counter() - begun_s)
        if remaining_s <= SHORTEST_SLEEP_S:
            return False
        time.sleep(remaining_s)
        return True

    @staticmethod
    def _look(is_there: Callable[[], bool], limit_s: float) -> bool:
        """Nap and look by turns; it was not there a moment ago."""
        end_s = time.perf_counter() + limit_s
        while time.perf_counter() < end_s:
            time.sleep(LOOK_PERIOD_S)
            if is_there():
                return True
        return False


def _wake_on_time() -> None:
    """Ask Linux, once a thread, to end its sleeps when they are over: 0.05 ms of a frame, twice (H200)."""
    if getattr(_threads, "are_woken_on_time", False):
        return
    _threads.are_woken_on_time = True
    with suppress(OSError, AttributeError):  # no Linux: its sleeps stay as they are
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(SLACK_NS), 0, 0, 0)
