"""A thread that works off the newest items of one source and never lets them pile up."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """Calls `handle` for each item on a thread of its own, in the order they came.

    At most `capacity` items wait; one more pushes out the oldest, which goes to `on_drop`. `handle` must
    not raise: it deals with its own errors.
    """

    def __init__(
        self, name: str, handle: Callable[[Item], None], on_drop: Callable[[Item], None], capacity: int
    ) -> None:
        self._handle = handle
        self._on_drop = on_drop
        self._capacity = capacity
        self._waiting: deque[Item] = deque()
        self._changed = threading.Condition()
        self._busy = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> None:
        """Queue an item; never blocks."""
        pushed_out: Item | None = None
        with self._changed:
            if self._stopping:
                return
            if len(self._waiting) >= self._capacity:
                pushed_out = self._waiting.popleft()
            self._waiting.append(item)
            self._changed.notify_all()
        if pushed_out is not None:
            self._on_drop(pushed_out)

    @property
    def is_idle(self) -> bool:
        """True when nothing waits and nothing is being worked on."""
        with self._changed:
            return not self._busy and not self._waiting

    def stop(self, finish: bool = False) -> None:
        """Finish the item in work and end the thread; what waits is left, unless all is to `finish`."""
        with self._changed:
            self._stopping = True
            if not finish:
                self._waiting.clear()
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if not self._waiting:
                    return
                item = self._waiting.popleft()
                self._busy = True
            self._handle(item)
