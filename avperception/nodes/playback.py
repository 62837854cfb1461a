"""Plays a recording's messages on time: the timeline of a player, free of nodes and topics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from avperception.bags import BagMessage, BagReader

TAIL_NS = 500_000_000
"""The clock runs on for this long after the last message, so that nothing waits for company any more."""

PAUSE_S = 0.3
"""After the clock was set (back), wall time until the first message: the clock is to be there before it."""

LATE_S = 1.0
"""Behind time by this much the player says so."""


@dataclass(frozen=True)
class Sink:
    """Where a playback goes: `publish` takes each message, `set_clock` the time in ns of the recording.

    `tell` is given what a user should know, in one line.
    """

    publish: Callable[[BagMessage], None]
    set_clock: Callable[[int], None]
    tell: Callable[[str], None]


class Playback:
    """Gives the messages of an open recording to a sink at `rate` times the speed they were recorded at.

    The clock steps `clock_rate` times a second of wall time, and to the log time of each message just
    before it. A playback that loops sets the clock back to the start, as often as it comes to the end.
    """

    def __init__(
        self, bag: BagReader, topics: set[str], sink: Sink, *, rate: float, clock_rate: float, loop: bool
    ) -> None:
        self._bag = bag
        self._topics = topics
        self._sink = sink
        self._rate = rate
        self._step_s = 1.0 / clock_rate
        self._loop = loop
        self._stopped = threading.Event()
        self._has_told_late = False
        self.rounds = 0

    def stop(self) -> None:
        """Let `run` come back at once; safe from any thread."""
        self._stopped.set()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def hold(self, ready: Callable[[], bool], timeout_s: float) -> bool:
        """Keep the clock at the start until `ready`; False when that takes longer, or it was stopped."""
        end_s = time.monotonic() + timeout_s
        while not ready():
            self._sink.set_clock(self._bag.start_ns)
            if time.monotonic() > end_s or self._stopped.wait(self._step_s):
                return False
        return True

    def run(self) -> bool:
        """Play until the end, or for ever if it loops; False if it was stopped before."""
        while self._play_once():
            self.rounds += 1
            if not self._loop:
                return True
        return False

    def _play_once(self) -> bool:
        start_ns = now_ns = self._bag.start_ns
        self._sink.set_clock(start_ns)
        if self._stopped.wait(PAUSE_S):
            return False
        begin_s = time.monotonic()
        for message in self._bag.messages(self._topics):
            now_ns = message.stamp_ns
            if not self._wait_until(begin_s, start_ns, now_ns):
                return False
            self._sink.set_clock(now_ns)
            self._sink.publish(message)
        return self._wait_until(begin_s, start_ns, now_ns + TAIL_NS)

    def _wait_until(self, begin_s: float, start_ns: int, stamp_ns: int) -> bool:
        """Run the clock up to a time of the recording; False if the playback was stopped meanwhile."""
        due_s = begin_s + (stamp_ns - start_ns) / 1e9 / self._rate
        while (left_s := due_s - time.monotonic()) > 0:
            if self._stopped.wait(min(left_s, self._step_s)):
                return False
            if left_s > self._step_s:
                passed_s = time.monotonic() - begin_s
                self._sink.set_clock(min(stamp_ns, start_ns + round(passed_s * self._rate * 1e9)))
        if -left_s > LATE_S and not self._has_told_late:
            self._has_told_late = True
            self._sink.tell(f"{-left_s:.1f} s behind: this machine cannot play it at rate {self._rate:g}")
        return not self._stopped.is_set()
