"""Wall time of the stages of one frame."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Collects how long each named stage took, in milliseconds, in `stage_ms`."""

    def __init__(self) -> None:
        self.stage_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body of the `with` under `name`; the same name twice is added up."""
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            elapsed_ms = (time.perf_counter_ns() - start) / 1e6
            self.stage_ms[name] = self.stage_ms.get(name, 0.0) + elapsed_ms
