"""What became of the messages of one source: received, processed, dropped and why, and how long it took."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from itertools import islice
from textwrap import shorten

import numpy as np
from rclpy.impl.rcutils_logger import RcutilsLogger

from avperception.errors import MessageError

SAMPLES_KEPT = 10_000
LOG_PERIOD_S = 10.0
TEXT_KEPT = 300
"""Characters of the last text of a reason."""

USUAL = frozenset({"invalid_points"})
"""Notes that no warning is due for: every lidar has beams that come back from nowhere."""


class Source:
    """Counts, latencies and the log of one camera, the lidar or fusion; safe for several threads."""

    def __init__(self, name: str, logger: RcutilsLogger) -> None:
        self.name = name
        self._logger = logger
        self._lock = threading.Lock()
        self._received = 0
        self._processed = 0
        self._dropped: Counter[str] = Counter()
        self._noted: Counter[str] = Counter()
        self._texts: dict[str, str] = {}
        self._logged_s: dict[str, float] = {}
        self._last_s: float | None = None
        self._stage_ms: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=SAMPLES_KEPT))

    def receive(self) -> None:
        """A message has arrived."""
        with self._lock:
            self._received += 1
            self._last_s = time.monotonic()

    def receive_bad(self, error: MessageError) -> None:
        """A message has arrived that cannot be taken or read."""
        self.receive()
        self.drop(error.reason, str(error))

    def process(self, stage_ms: Mapping[str, float]) -> None:
        """A message has led to a published result; each stage took this long."""
        with self._lock:
            self._processed += 1
            for stage, milliseconds in stage_ms.items():
                self._stage_ms[stage].append(milliseconds)

    def drop(self, reason: str, text: str) -> None:
        """A message is lost, whole or for one use: count it, and log it at most every 10 s per reason."""
        self._count(self._dropped, reason, text)

    def note(self, reason: str, text: str) -> None:
        """A message is used, yet something about it is to be known: count and log it like a loss."""
        self._count(self._noted, reason, text)

    def _count(self, counter: Counter[str], reason: str, text: str) -> None:
        now_s = time.monotonic()
        with self._lock:
            counter[reason] += 1
            count = counter[reason]
            self._texts[reason] = text
            due = now_s - self._logged_s.get(reason, -LOG_PERIOD_S) >= LOG_PERIOD_S
            if due:
                self._logged_s[reason] = now_s
        if due:
            self._logger.warning(f"{self.name}: {text} [{reason}, {count} so far]")

    @property
    def received(self) -> int:
        return self._received

    @property
    def processed(self) -> int:
        return self._processed

    @property
    def dropped(self) -> dict[str, int]:
        """Losses by reason."""
        with self._lock:
            return dict(self._dropped)

    @property
    def noted(self) -> dict[str, int]:
        """What was noted, by reason."""
        with self._lock:
            return dict(self._noted)

    @property
    def texts(self) -> dict[str, str]:
        """What was said last of each reason, in one line of at most 300 characters."""
        with self._lock:
            texts = dict(self._texts)
        return {reason: shorten(text, TEXT_KEPT, placeholder=" ...") for reason, text in texts.items()}

    @property
    def age_s(self) -> float | None:
        """Seconds since the last message, None before the first."""
        last_s = self._last_s
        return None if last_s is None else time.monotonic() - last_s

    def stage_samples_ms(self) -> dict[str, list[float]]:
        """The last 10,000 times of each stage."""
        with self._lock:
            return {stage: list(samples) for stage, samples in self._stage_ms.items()}

    def recent_samples_ms(self, count: int) -> dict[str, list[float]]:
        """The last `count` times of each stage, newest first; as quick as they are few."""
        with self._lock:
            return {stage: list(islice(reversed(times), count)) for stage, times in self._stage_ms.items()}

    def percentiles_ms(self, stage: str, percentiles: tuple[float, ...]) -> tuple[float, ...] | None:
        """Percentiles of one stage's time, None before its first."""
        samples = self.stage_samples_ms().get(stage)
        return tuple(map(float, np.percentile(samples, percentiles))) if samples else None
