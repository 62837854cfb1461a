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
        self._size = max(ends, default=ALIGNMENT)
        starts = [0, *ends[:-1]]
        self._starts = np.array(starts[: len(arrays)], np.uint64)
        self._forms = [
            (name, array.shape, array.dtype, start)
            for (name, array), start in zip(arrays.items(), starts, strict=False)
        ]

    def make(self) -> tuple[NDArray[np.uint64], dict[str, NDArray[Any]]]:
        """Give an array for each result, and the addresses that the GPU is to write them to."""
        block = np.asarray(HostBlock(self._pool, self._size))
        addresses = self._starts + np.uint64(block.__array_interface__["data"][0])
        return addresses, {
            name: np.ndarray(shape, dtype, block, start) for name, shape, dtype, start in self._forms
        }
