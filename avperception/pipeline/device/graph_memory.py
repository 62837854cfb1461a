"""What every captured graph has: memory of its own, and a place where the host leaves its input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avperception.types import Array, UInt8


class GraphMemory:
    """Pools from which one graph takes all its memory, and which go with it, and the graph's stream."""

    def __init__(self, cupy: Any, stream: Any) -> None:
        self._cupy = cupy
        self._stream = stream
        self._pool = cupy.cuda.MemoryPool()
        self.pinned_pool = cupy.cuda.PinnedMemoryPool()

    @property
    def device_bytes(self) -> int:
        """Bytes on the GPU that are held for the graph, used or not."""
        return int(self._pool.total_bytes())

    def free(self) -> None:
        """Give back what no array holds any more.

        Blocks that CuPy's pool has split refer to each other: they would wait for a garbage collection.
        """
        self._pool.free_all_blocks()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Put what CuPy does in the body of the `with` on the graph's stream, and arrays in its memory."""
        with self._stream, self._cupy.cuda.using_allocator(self._pool.malloc):
            yield

    def pinned(self, size: int, dtype: Any) -> PinnedArray:
        """Give pinned memory on the host for so many values."""
        return PinnedArray(self.pinned_pool.malloc(size * np.dtype(dtype).itemsize), size, dtype)

    def inbox(self, size: int, *, mapped: bool = False) -> Inbox:
        """Give so many bytes, zeros, that the host writes and the GPU reads."""
        return Inbox(self._cupy, self.pinned(size, np.uint8), mapped=mapped)

    def capture(self, enqueue: Callable[[], Any]) -> Any:
        """Give a graph of what `enqueue` puts on the stream; it runs only when the graph is launched."""
        self._stream.begin_capture()
        try:
            enqueue()
        except BaseException:
            with suppress(Exception):  # what is half captured cannot end well, and would hide the reason
                self._stream.end_capture()
            raise
        graph = self._stream.end_capture()
        graph.upload(self._stream)
        self._stream.synchronize()
        return graph


class PinnedArray:
    """Values in pinned memory: `array` on the host, at an `address` that the GPU can use too."""

    def __init__(self, memory: Any, size: int, dtype: Any) -> None:
        self.memory = memory
        self.array: NDArray[Any] = np.frombuffer(memory, dtype, size)

    @property
    def address(self) -> int:
        return int(self.memory.ptr)


class HostBlock:
    """So many bytes of pinned memory; arrays made of it hold it, and its pool.

    A block of CuPy 13 is freed with its pool, held or not, while a result may outlive graph and camera.
    """

    def __init__(self, pool: Any, size: int) -> None:
        self._pool = pool
        self._memory = pool.malloc(size)
        self.__array_interface__ = {
            "version": 3,
            "shape": (size,),
            "typestr": "|u1",
            "data": (int(self._memory.ptr), False),
        }


class Inbox:
    """Bytes that the host writes, `host`, and the GPU reads, `device`, once they are uploaded.

    With `mapped` both are one memory, and there is nothing to upload.
    """

    def __init__(self, cupy: Any, pinned: PinnedArray, *, mapped: bool) -> None:
        self._runtime = cupy.cuda.runtime
        self._pinned = pinned
        self.is_mapped = mapped
        self.host: UInt8 = pinned.array
        self.host[...] = 0
        self.device = _mapped(cupy, pinned) if mapped else cupy.empty(len(self.host), np.uint8)

    def upload(self, stream: Any, size: int | None = None) -> None:
        """Put the upload of the first `size` bytes, or of all, on a stream."""
        if not self.is_mapped:
            self._runtime.memcpyAsync(
                self.device.data.ptr,
                self._pinned.address,
                len(self.host) if size is None else size,
                self._runtime.memcpyHostToDevice,
                stream.ptr,
            )


def _mapped(cupy: Any, pinned: PinnedArray) -> Array:
    size = pinned.array.nbytes
    memory = cupy.cuda.UnownedMemory(pinned.address, size, pinned.memory)
    return cupy.ndarray(size, np.uint8, memptr=cupy.cuda.MemoryPointer(memory, 0))
