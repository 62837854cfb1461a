"""One frame while its work is put on a GPU's streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avperception.engines.engine import ExecutionContext
from avperception.types import Array, Image

FIRST_BRANCH_PRIORITY = -1
"""CUDA's priorities rise downward, from 0."""


class Branches:
    """Streams for the branches of forks, made once and used again in the same order."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._streams: list[Any] = []
        self._used = 0

    def restart(self) -> None:
        """Begin a frame: all streams are free again."""
        self._used = 0

    def take(self, *, is_first: bool) -> Any:
        """Give a stream that no branch of this frame has had."""
        if self._used == len(self._streams):
            priority = FIRST_BRANCH_PRIORITY if is_first else 0
            self._streams.append(self._cupy.cuda.Stream(non_blocking=True, priority=priority))
        self._used += 1
        return self._streams[self._used - 1]


@dataclass
class CudaFrame:
    """Puts work on CuPy's current stream and those forked from it; `results` are the arrays given.

    `addresses` on the device say where on the host each result goes; without them none is brought there.
    Of `early` results, given by their numbers, `arrivals` tells the host: one flag a result.
    """

    cupy: Any
    ops: ModuleType
    image: Image
    branches: Branches
    addresses: Array | None = None
    arrivals: Array | None = None
    timed: bool = False
    results: dict[str, Array] = field(default_factory=dict)
    early: dict[str, int] = field(default_factory=dict)
    rows_read: NDArray[np.int64] | None = field(default_factory=lambda: np.zeros(0, np.int64))
    _stages: list[tuple[str, Any, Any]] = field(default_factory=list)
    _events: list[Any] = field(default_factory=list)

    def reads(self, rows: NDArray[np.int64] | None) -> None:
        """Add to the rows that are read, None for all."""
        known = self.rows_read
        self.rows_read = None if rows is None or known is None else np.union1d(known, rows)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Name the body of the `with` for profilers, and time it if the frame is timed."""
        cupy = self.cupy
        cupy.cuda.nvtx.RangePush(name)
        start = cupy.cuda.get_current_stream().record(cupy.cuda.Event()) if self.timed else None
        try:
            yield
        finally:
            if self.timed:
                self._stages.append((name, start, cupy.cuda.get_current_stream().record(cupy.cuda.Event())))
            cupy.cuda.nvtx.RangePop()

    def execute(self, context: ExecutionContext) -> None:
        """Put a network on the current stream."""
        context.execute(self.cupy.cuda.get_current_stream())

    def fork(self, *branches: Callable[[], None]) -> None:
        """Put branches on streams of their own, the first of a higher priority, and join them."""
        main = self.cupy.cuda.get_current_stream()
        begin = self._record(main)
        ends = []
        for number, branch in enumerate(branches):
            stream = self.branches.take(is_first=number == 0)
            stream.wait_event(begin)
            with stream:
                branch()
            ends.append(self._record(stream))
        for end in ends:
            main.wait_event(end)

    def give(self, name: str, array: Array, *, early: bool = False) -> None:
        """Write an array to the host, to the address that this frame has for it."""
        number = len(self.results)
        if self.addresses is not None:
            with self.stage("deliver"):
                self.ops.deliver(array, self.addresses, number)
                if early:
                    self.ops.announce(self.arrivals, number)
        self.results[name] = array
        if early:
            self.early[name] = number

    def stage_ms(self) -> dict[str, float]:
        """Milliseconds on the GPU by stage, after the frame; those of one name are added up."""
        found: dict[str, float] = {}
        for name, start, end in self._stages:
            found[name] = found.get(name, 0.0) + self.cupy.cuda.get_elapsed_time(start, end)
        return found

    def _record(self, stream: Any) -> Any:
        event = stream.record(self.cupy.cuda.Event(disable_timing=True))
        self._events.append(event)  # kept until all that waits for it is on its stream
        return event
