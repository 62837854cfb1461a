"""The GPU's memory, temperature and clocks, read once a second on a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

PERIOD_S = 1.0


@dataclass(frozen=True)
class GpuReading:
    """How a GPU is at a moment; None is what it does not tell.

    `utilization` is a share of 0 to 1, `slowed_by` says why the clocks are lower than they could be;
    `is_shared` is True where the CPU has the same memory.
    """

    name: str
    temperature_c: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    utilization: float | None = None
    clock_mhz: float | None = None
    power_w: float | None = None
    slowed_by: tuple[str, ...] = ()
    is_shared: bool = False

    @property
    def memory_share(self) -> float | None:
        """The used part of the memory."""
        if self.memory_used_bytes is None or not self.memory_total_bytes:
            return None
        return self.memory_used_bytes / self.memory_total_bytes


GpuReader = Callable[[], GpuReading]
"""Reads the GPU; raises OSError when it cannot be reached any more."""


def find_gpu() -> GpuReader | None:
    """Give what reads this machine's GPU: Tegra's files, else NVML; None where there is neither."""
    from avperception.nodes.health.nvml import nvml_reader
    from avperception.nodes.health.tegra import tegra_reader

    return tegra_reader() or nvml_reader()


class GpuWatch:
    """Reads the GPU again and again; a driver that takes its time keeps nobody waiting.

    `is_unreadable` once it is known that nothing here can read one.
    """

    def __init__(self, find: Callable[[], GpuReader | None] = find_gpu, period_s: float = PERIOD_S) -> None:
        self._find = find
        self._period_s = period_s
        self._stopping = threading.Event()
        self.latest: GpuReading | None = None
        self.failure: str | None = None
        self.is_unreadable = False
        self._thread = threading.Thread(target=self._run, name="gpu health", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        read = self._find()
        self.is_unreadable = read is None
        while read is not None:
            try:
                self.latest, self.failure = read(), None
            except OSError as error:
                self.failure = str(error)
            if self._stopping.wait(self._period_s):
                return
