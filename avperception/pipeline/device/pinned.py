"""Images that lie in pinned memory: the GPU reads them there, and no copy of the host's is needed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from avperception.ops.jpeg import JpegImage
from avperception.pipeline.device.cuda_errors import import_cupy
from avperception.pipeline.device.graph_memory import HostBlock
from avperception.types import Image, UInt8


class PinnedMemory:
    """Makes pinned memory for messages; what nobody holds any more is used again for others of its size."""

    def __init__(self) -> None:
        self._cupy = import_cupy()
        self._pool: Any = None
        self._size = 0

    def __call__(self, size: int) -> UInt8:
        """Give so many bytes (size,), pinned unless there is no more of it; then they are ordinary.

        So are all that follow of this size: images of both kinds by turns would be captured anew each time.
        """
        if size != self._size:
            # The old pool goes with its last block: messages of ever new sizes must not pile up in memory.
            self._pool, self._size = self._cupy.cuda.PinnedMemoryPool(), size
        if self._pool is not None:
            try:
                return np.asarray(HostBlock(self._pool, size))
            except (MemoryError, self._cupy.cuda.runtime.CUDARuntimeError):
                self._pool = None
        return np.empty(size, np.uint8)


class PinnedRows(NamedTuple):
    """Where the GPU finds the rows of an image on the host: the first, and the bytes from one to the next."""

    address: int
    step: int


def pinned_rows(image: Image) -> PinnedRows | None:
    """Find an image's rows if they lie in memory of `PinnedMemory`, and nobody will overwrite them.

    So its array must be read-only: what may be written to may change while the GPU reads it.
    """
    if isinstance(image, JpegImage):  # whose data would be decoded to be looked at
        return None
    data = image.data
    if data.flags.writeable or not _is_in_block(data):
        return None
    step, *within_row = data.strides
    if within_row[-1] != data.itemsize or (len(within_row) > 1 and within_row[0] != data[0, 0].nbytes):
        return None
    address: int = data.__array_interface__["data"][0]  # a third of the time that `data.ctypes` takes
    return PinnedRows(address, step) if step >= data[0].nbytes else None


def _is_in_block(owner: Any) -> bool:
    """Whether a view, or a view of a view, looks at memory of a `HostBlock`."""
    while isinstance(owner, np.ndarray | memoryview):
        owner = owner.base if isinstance(owner, np.ndarray) else owner.obj
    return isinstance(owner, HostBlock)
