"""Judges the stamps of one sensor in the order they come."""

from __future__ import annotations

from dataclasses import dataclass

from rclpy.clock import Clock
from std_msgs.msg import Header

from avperception.errors import MessageError
from avperception.nodes.conversions.headers import NANOSECONDS, stamp_ns
from avperception.nodes.source import Source

FUTURE_NS = NANOSECONDS // 2
"""A stamp this far ahead of the clock is no matter of delays and of the steps that a clock takes."""


@dataclass(frozen=True)
class Stamp:
    """A stamp that can be used; it `went_back` when it lies before the one that came before it."""

    ns: int
    went_back: bool


class StampCheck:
    """Drops messages without a stamp or with the last one again; notes stamps that jump back or lie ahead."""

    def __init__(self, source: Source, clock: Clock, what: str) -> None:
        self._source = source
        self._clock = clock
        self._what = what
        self._last_ns: int | None = None

    def take(self, header: Header) -> Stamp | None:
        """Judge the stamp of the next message; None for one that was dropped, and counted."""
        try:
            ns = stamp_ns(header)
        except MessageError as error:
            self._source.drop(error.reason, str(error))
            return None
        last_ns, self._last_ns = self._last_ns, ns
        if ns == last_ns:
            self._source.drop(
                "duplicate_stamp", f"two {self._what}s carry the same stamp: the second was dropped"
            )
            return None
        self._note_future(ns)
        went_back = last_ns is not None and ns < last_ns
        if last_ns is not None and went_back:
            self._source.note(
                "time_jump",
                f"stamps went back by {(last_ns - ns) / NANOSECONDS:.3f} s, as when a recording loops or two "
                "publishers share the topic",
            )
        return Stamp(ns, went_back)

    def _note_future(self, ns: int) -> None:
        now_ns = self._clock.now().nanoseconds
        # Simulated time is zero until somebody tells it.
        if now_ns and ns - now_ns > FUTURE_NS:
            self._source.note(
                "future_stamp",
                f"a stamp lies {(ns - now_ns) / NANOSECONDS:.1f} s ahead of the node's clock: synchronise "
                "the clocks; use_sim_time is for recordings only",
            )
