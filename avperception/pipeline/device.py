"""Where a camera's work runs: the only place in which the host and a GPU differ."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Protocol

from avperception.ops import cpu


class Device(Protocol):
    """Gives the array operations of a device and runs independent branches of work on it."""

    @property
    def name(self) -> str: ...

    @property
    def ops(self) -> ModuleType:
        """The module of array operations, named alike on every device."""
        ...

    def fork(self, *branches: Callable[[], None]) -> None:
        """Run branches that do not depend on each other, side by side where the device can, and join them."""
        ...


class CpuDevice:
    """The host: a branch is run at once, one after the other, for the runtime already uses every core."""

    name = "cpu"
    ops: ModuleType = cpu

    def fork(self, *branches: Callable[[], None]) -> None:
        """Run the branches in order."""
        for branch in branches:
            branch()
