"""Where on the host the results of a frame go."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avperception.pipeline.device.graph_memory import HostBlock
from avperception.types import Array

ALIGNMENT = 256
"""Bytes from which each result begins; the kernel that brings them writes 16 at a time."""


class HostResults:
    """Makes pinned memory for the results of one frame, which returns to its pool when nobody holds them.

    They share one block: the least work for Python, and the largest of them, a mask, is held the longest.
    """

    def __init__(self, pool: Any, arrays: Mapping[str, Array]) -> None:
        self._pool = pool
        ends = list(accumulate(-(-array.nbytes // ALIGNMENT) * ALIGNMENT for array in arrays.values()))
        self._size = ends[-1] if ends else 0
        starts = [0, *ends[:-1]]
        self._starts = np.array(starts[: len(arrays)], np.uint64)
        self._forms = [
            (name, array.shape, array.dtype, start)
            for (name, array), start in zip(arrays.items(), starts, strict=False)
        ]

    def make(self, addresses: NDArray[np.uint64]) -> dict[str, NDArray[Any]]:
        """Give an array for each result, and note in `addresses` where the GPU is to write it."""
        if not self._forms:
            return {}
        block = np.asarray(HostBlock(self._pool, self._size))
        np.add(self._starts, np.uint64(block.ctypes.data), out=addresses[: len(self._forms)])
        return {name: np.ndarray(shape, dtype, block, start) for name, shape, dtype, start in self._forms}
