"""What a stage of the pipeline sees of the device that it runs on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from avperception.engines.engine import ExecutionContext
from avperception.pipeline.device.sweep import SweepRunner, SweepWork
from avperception.types import Array, Image, UInt8

Delivery = Callable[[str, NDArray[Any]], None]
"""Called with the name of a result and the result, an array on the host, as soon as it is there."""


MakeMemory = Callable[[int], UInt8]
"""Makes an array of so many bytes (size,), to be written by the host."""


class Frame(Protocol):
    """One frame as the stages see it: its image, and how to put work on the device and results back.

    On a GPU the stages run once, to be captured; what they put on the device then runs for each frame.
    """

    @property
    def image(self) -> Image:
        """The image, its data where the device can read it."""
        ...

    @property
    def ops(self) -> ModuleType:
        """The module of array operations, named alike on every device."""
        ...

    def reads(self, rows: NDArray[np.int64] | None) -> None:
        """Say which rows of the image are read from now on, None for all: no others need be brought there."""
        ...

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Time the body of the `with` under `name`, where it runs by itself and not as part of a graph."""
        ...

    def execute(self, context: ExecutionContext) -> None:
        """Run a network on what its inputs hold."""
        ...

    def fork(self, *branches: Callable[[], None]) -> None:
        """Run branches that do not depend on each other, side by side where the device can, and join them.

        Where they compete, the first goes before the second.
        """
        ...

    def give(self, name: str, array: Array, *, early: bool = False) -> None:
        """Bring an array to the host as one of the frame's results; an `early` one waits for no other."""
        ...


Work = Callable[[Frame], None]
"""All that is to be done for one frame; it must do the same for every image of the same layout."""


class FrameRunner(Protocol):
    """Runs the work of one frame at a time, in buffers of its own."""

    captures: int
    """How often the work was captured: once for each layout of image that came after another."""

    def launch(self, image: Image, layout: Hashable, deliver: Delivery) -> None:
        """Begin with an image; a JPEG, and what is read-only, may be read and held until the end.

        Work that depends on more of the image than `layout` says is wrong. Raises MessageError for an
        image that cannot be used and EngineError when a network fails.
        """
        ...

    def wait(self) -> Mapping[str, float]:
        """Wait until all results are delivered; give the milliseconds that the stages took."""
        ...


class Device(Protocol):
    """Gives the array operations of a device and makes runners that work side by side."""

    @property
    def name(self) -> str: ...

    @property
    def ops(self) -> ModuleType:
        """The module of array operations, named alike on every device."""
        ...

    @property
    def frames_at_once(self) -> int:
        """Frames of one camera that are worth having under way at the same time."""
        ...

    @property
    def jpeg_decoder(self) -> str:
        """What decodes JPEG images, and if it is not the GPU, why."""
        ...

    def full(self, shape: tuple[int, ...], value: int) -> Array:
        """Make an array of uint8 that holds one value."""
        ...

    def make_image_memory(self) -> MakeMemory | None:
        """Give what makes memory on the host from which images come onto the device without a copy.

        For one thread; None where any memory will do. A read-only array in it is not copied.
        """
        ...

    def make_runner(self, work: Work) -> FrameRunner:
        """Make a runner of this work."""
        ...

    def make_sweep_runner(self, work: SweepWork) -> SweepRunner:
        """Make a runner of this work on a lidar's sweeps."""
        ...
