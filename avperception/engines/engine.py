"""What every inference runtime offers: an Engine holds the weights, an ExecutionContext the buffers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from avperception.types import Array


@dataclass(frozen=True)
class TensorSpec:
    """Name, static shape and element type of one network input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class ExecutionContext(Protocol):
    """Buffers of one user of an engine (a camera), bound once: write `inputs`, execute, read `outputs`.

    The arrays live where the engine computes (host or device) and are the same objects for the life
    of the context; what `outputs` holds is overwritten by the next `execute`.
    """

    @property
    def inputs(self) -> Mapping[str, Array]: ...

    @property
    def outputs(self) -> Mapping[str, Array]: ...

    def execute(self, stream: Any = None) -> None:
        """Run the network once, on `stream` where the runtime has streams; raises EngineError."""
        ...


class Engine(Protocol):
    """A network ready to run, its weights shared by all contexts made from it."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]: ...

    @property
    def outputs(self) -> Mapping[str, TensorSpec]: ...

    @property
    def description(self) -> str:
        """The runtime, its version and the device, for logs and `/diagnostics`."""
        ...

    def create_context(self) -> ExecutionContext: ...
