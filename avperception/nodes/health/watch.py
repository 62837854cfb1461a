"""What became of a source's messages lately: rates, latencies, ages, losses, and what is wrong."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from avperception.nodes.diagnostics import Level, Problem
from avperception.nodes.health.limits import Limits
from avperception.nodes.source import USUAL, Source

WINDOW_S = 10.0
"""Rates, latencies and ages are those of the last ten seconds."""

AGES_KEPT = 2000


class Topic(Protocol):
    """Where a source's messages come from."""

    @property
    def whereabouts(self) -> str:
        """The topic, and who publishes there."""
        ...


@dataclass(frozen=True)
class _Count:
    """A source's counters at a moment, and those of its extras by their name."""

    time_s: float
    received: int
    processed: int
    dropped: Counter[str]
    extra_dropped: Counter[str]
    noted: Counter[str]


class SourceWatch:
    """Looks at one source once a second, on one thread; `add_age` may be called on any other.

    `latency_stage` is the stage whose time is the whole latency. What `extras` lose (camera_info, /tf)
    is told with the source. Silence is a problem on a `topic`, where messages arrive by themselves.
    """

    def __init__(
        self,
        source: Source,
        latency_stage: str,
        limits: Limits,
        extras: Sequence[Source] = (),
        topic: Topic | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._latency_stage = latency_stage
        self._limits = limits
        self._extras = tuple(extras)
        self._topic = topic
        self._clock = clock
        self._since_s = clock()
        self._counts: deque[_Count] = deque([self._count()])
        self._lost: Counter[str] = Counter()
        self._extra_lost: Counter[str] = Counter()
        self._noted: Counter[str] = Counter()
        self._lost_share = 0.0
        self._samples_ms: dict[str, list[float]] = {}
        self._ages: deque[tuple[float, float]] = deque(maxlen=AGES_KEPT)

    def start(self) -> None:
        """Messages are to be expected from now on."""
        self._since_s = self._clock()
        self._counts = deque([self._count()])
        self._ages.clear()

    def add_age(self, age_s: float) -> None:
        """A result was published whose stamp is this long ago, by the node's clock."""
        self._ages.append((self._clock(), age_s))

    def look(self) -> None:
        """Take the counters; what was lost since the last look is what `problems` tells."""
        now, last = self._count(), self._counts[-1]
        self._lost = now.dropped - last.dropped
        self._extra_lost = now.extra_dropped - last.extra_dropped
        self._noted = now.noted - last.noted
        lost, received = sum(self._lost.values()), now.received - last.received
        # Messages lost now may have been received before; more than all cannot be.
        self._lost_share = min(1.0, lost / max(1, received))
        self._counts.append(now)
        while len(self._counts) > 2 and now.time_s - self._counts[1].time_s >= WINDOW_S:
            self._counts.popleft()
        self._samples_ms = self._source.recent_samples_ms(now.processed - self._counts[0].processed)

    def problems(self, min_rate_hz: float = 0.0) -> list[Problem]:
        """All that is wrong at the last look."""
        found = [] if self._topic is None else self._silence(self._topic)
        found += self._losses()
        rate_hz = self.rates_hz()[0]
        if min_rate_hz and rate_hz is not None and self._source.received and rate_hz < min_rate_hz:
            text = f"{rate_hz:.1f} Hz, at least {min_rate_hz:g} Hz are wanted"
            found.append(Problem(Level.WARN, text))
        if latency := self.latencies_s():
            p99 = latency[1]
            found += self._limits.above("latency", p99, f"results take {p99:.2f} s (p99)")
        if ages := self._recent_ages():
            found += self._age(float(np.percentile(ages, 99)), min(ages))
        return found

    def values(self) -> dict[str, str]:
        """Counters, rates, latencies and ages, for people and for programs."""
        source = self._source
        values = {"received": str(source.received), "processed": str(source.processed)}
        for name, rate_hz in zip(("rate in [Hz]", "rate out [Hz]"), self.rates_hz(), strict=True):
            if rate_hz is not None:
                values[name] = f"{rate_hz:.1f}"
        if source.age_s is not None:
            values["last message [s]"] = f"{source.age_s:.2f}"
        if latency := self.latencies_s():
            values["latency p50 [ms]"], values["latency p99 [ms]"] = (
                f"{1e3 * value:.2f}" for value in latency
            )
        if ages := self._recent_ages():
            p50, p99 = np.percentile(ages, (50, 99))
            values["age p50 [ms]"], values["age p99 [ms]"] = f"{1e3 * p50:.1f}", f"{1e3 * p99:.1f}"
        last = self._counts[-1]
        for reason, count in sorted({**last.dropped, **last.extra_dropped}.items()):
            values[f"dropped {reason}"] = str(count)
        for reason, count in sorted(source.noted.items()):
            values[f"noted {reason}"] = str(count)
        texts = {**source.texts}
        for extra in self._extras:
            texts.update({f"{extra.name} {reason}": text for reason, text in extra.texts.items()})
        values.update({f"last {reason}": text for reason, text in sorted(texts.items())})
        return values

    def rates_hz(self) -> tuple[float | None, float | None]:
        """Messages and results a second within the window; None before a second has passed."""
        first, last = self._counts[0], self._counts[-1]
        seconds = last.time_s - first.time_s
        if seconds < 0.5:
            return None, None
        return (last.received - first.received) / seconds, (last.processed - first.processed) / seconds

    def latencies_s(self) -> tuple[float, float] | None:
        """50th and 99th percentile of the results within the window."""
        return percentiles_s(self.samples_ms().get(self._latency_stage, []))

    def samples_ms(self) -> dict[str, list[float]]:
        """The times of each stage within the window, newest first, as of the last look."""
        return self._samples_ms

    @property
    def lost(self) -> Counter[str]:
        """Losses by reason between the last two looks."""
        return self._lost

    def _silence(self, topic: Topic) -> list[Problem]:
        age_s, waited_s = self._source.age_s, self._clock() - self._since_s
        if age_s is None:
            text = f"nothing received yet on {topic.whereabouts}"
            return self._limits.above("silence", waited_s, text) or [Problem(Level.WARN, text)]
        silent_s = min(age_s, waited_s)
        if not self._limits.above("silence", silent_s, ""):
            return []  # looking for publishers takes time
        text = f"nothing received for {silent_s:.1f} s on {topic.whereabouts}"
        return self._limits.above("silence", silent_s, text)

    def _losses(self) -> list[Problem]:
        found = []
        for level, name in ((Level.ERROR, "loss_error"), (Level.WARN, "loss_warn")):
            if self._lost and self._lost_share > self._limits[f"diagnostics.{name}"]:
                found.append(Problem(level, f"lost: {listed(self._lost)}"))
                break
        if self._extra_lost:
            found.append(Problem(Level.WARN, f"lost: {listed(self._extra_lost)}"))
        if self._noted:
            found.append(Problem(Level.WARN, f"noted: {listed(self._noted)}"))
        return found

    def _age(self, p99_s: float, least_s: float) -> list[Problem]:
        found = self._limits.above("age", p99_s, f"results are {_seconds(p99_s)} old by their stamp (p99)")
        limit_s = self._limits["diagnostics.age_warn"]
        if limit_s and -least_s > limit_s:
            text = f"stamps lie {_seconds(-least_s)} in the future: are the clocks synchronised?"
            found.append(Problem(Level.WARN, text))
        return found

    def _recent_ages(self) -> list[float]:
        oldest_s = self._clock() - WINDOW_S
        return [age_s for time_s, age_s in tuple(self._ages) if time_s >= oldest_s]

    def _count(self) -> _Count:
        source = self._source
        extra = {f"{e.name} {reason}": count for e in self._extras for reason, count in e.dropped.items()}
        dropped = Counter(source.dropped)
        noted = Counter({reason: count for reason, count in source.noted.items() if reason not in USUAL})
        return _Count(self._clock(), source.received, source.processed, dropped, Counter(extra), noted)


def listed(counts: Counter[str]) -> str:
    """Name reasons with their counts."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))


def _seconds(value: float) -> str:
    """Seconds, or days where the stamps are of another day: a recording played without its clock."""
    if value < 86_400:
        return f"{value:.1f} s"
    return f"{value / 86_400:.0f} days (a recording is played with --clock and use_sim_time)"


def percentiles_s(samples_ms: Sequence[float]) -> tuple[float, float] | None:
    """50th and 99th percentile in seconds, None of nothing."""
    if not samples_ms:
        return None
    p50, p99 = np.percentile(samples_ms, (50, 99)) / 1e3
    return float(p50), float(p99)
