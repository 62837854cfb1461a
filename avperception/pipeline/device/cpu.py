"""The host: a stage runs at once, and branch after branch, for the runtime already uses every core."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avperception.engines.engine import ExecutionContext
from avperception.ops import cpu
from avperception.ops.jpeg import JpegImage
from avperception.pipeline.device.device import Delivery, Work
from avperception.pipeline.device.sweep import CpuSweepRunner, SweepWork
from avperception.pipeline.stopwatch import Stopwatch
from avperception.types import Image, UInt8


class CpuDevice:
    """NumPy, OpenCV and a runtime of the host."""

    name = "cpu"
    ops: ModuleType = cpu
    frames_at_once = 1
    jpeg_decoder = "OpenCV"

    def full(self, shape: tuple[int, ...], value: int) -> UInt8:
        """Make an array of uint8 that holds one value."""
        return np.full(shape, value, dtype=np.uint8)

    def make_image_memory(self) -> None:
        """Any memory will do."""

    def make_runner(self, work: Work) -> CpuRunner:
        """Make a runner of this work."""
        return CpuRunner(work)

    def make_sweep_runner(self, work: SweepWork) -> CpuSweepRunner:
        """Make a runner of this work on sweeps."""
        return CpuSweepRunner(work)


class CpuRunner:
    """Runs the work of a frame within `launch`."""

    captures = 0

    def __init__(self, work: Work) -> None:
        self._work = work
        self._stage_ms: Mapping[str, float] = {}

    def launch(self, image: Image, layout: Hashable, deliver: Delivery) -> None:
        """Do all the work."""
        frame = CpuFrame(image, deliver)
        if isinstance(image, JpegImage):
            with frame.stage("decode"):
                image.decode()
        self._work(frame)
        self._stage_ms = frame.stopwatch.stage_ms

    def wait(self) -> Mapping[str, float]:
        """Give the milliseconds that the stages of the last frame took."""
        return self._stage_ms


class CpuFrame:
    """One frame on the host."""

    ops: ModuleType = cpu

    def __init__(self, image: Image, deliver: Delivery) -> None:
        self.image = image
        self.stopwatch = Stopwatch()
        self._deliver = deliver

    def reads(self, rows: NDArray[np.int64] | None) -> None:
        """All rows are here."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Time the body of the `with` under `name`."""
        return self.stopwatch.stage(name)

    def execute(self, context: ExecutionContext) -> None:
        """Run a network on what its inputs hold."""
        context.execute()

    def fork(self, *branches: Callable[[], None]) -> None:
        """Run the branches in order."""
        for branch in branches:
            branch()

    def give(self, name: str, array: NDArray[Any], *, early: bool = False) -> None:
        """Deliver an array as one of the frame's results, at once."""
        self._deliver(name, array)
