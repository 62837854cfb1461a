"""How far a build is: TensorRT's nested phases as one number that only grows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from avperception.engines.adapter import trt


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0
    active: str | None = None


class BuildProgress:
    """Collects the phases that the builder reports from its threads; `cancel` ends the build.

    `callback` gets the part done, 0 to 1, and the innermost phase; only `report` and `finish` call it,
    in the thread of their caller.
    """

    def __init__(self, callback: Callable[[float, str], None] | None) -> None:
        self._callback = callback or (lambda part, phase: None)
        self._lock = threading.Lock()
        self._phases: dict[str, _Phase] = {}
        self._root: str | None = None
        self._part = 0.0
        self._innermost = ""
        self._cancelled = False

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins within `parent`."""
        with self._lock:
            self._phases[name] = _Phase(parent, max(1, steps))
            if parent in self._phases:
                self._phases[parent].active = name
            else:
                self._root = name
            self._innermost = name

    def step(self, name: str, step: int) -> bool:
        """A step of a phase is done; False tells the builder to stop."""
        with self._lock:
            if phase := self._phases.get(name):
                phase.done = max(phase.done, step + 1)
                phase.active = None
            return not self._cancelled

    def end(self, name: str) -> None:
        """A phase is over."""
        with self._lock:
            if phase := self._phases.get(name):
                phase.done = phase.steps

    def cancel(self) -> None:
        """Have the builder stop at its next step."""
        with self._lock:
            self._cancelled = True

    def report(self) -> None:
        """Tell the callback how far the build is."""
        with self._lock:
            if self._root:
                self._part = max(self._part, self._part_of(self._root, 0))
            part, phase = self._part, self._innermost
        self._callback(part, phase)

    def finish(self) -> None:
        """Tell the callback that all is done."""
        self._callback(1.0, self._innermost)

    def _part_of(self, name: str, depth: int) -> float:
        phase = self._phases[name]
        inner = 0.0
        if phase.active in self._phases and depth < 8:
            inner = self._part_of(str(phase.active), depth + 1)
        return min(1.0, (phase.done + inner) / phase.steps)


def make_monitor(state: BuildProgress) -> trt.IProgressMonitor:
    """Tie `state` to TensorRT's builder."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, unused-ignore] # without the stubs it is Any
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            state.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return state.step(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            state.end(phase_name)

    return Monitor()
