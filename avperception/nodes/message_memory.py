"""Where the bytes of a message that rcl takes lie: in rcl's memory, or where a device reads them itself."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from avperception.pipeline.device import MakeMemory
from avperception.types import UInt8

_FUNCTIONS = ("allocate", "deallocate", "reallocate", "zero_allocate")


class Allocator(ctypes.Structure):
    """rcutils_allocator_t of rcutils/allocator.h."""

    _fields_ = [(name, ctypes.c_void_p) for name in (*_FUNCTIONS, "state")]


class ByteArray(ctypes.Structure):
    """rcutils_uint8_array_t of rcutils/types/uint8_array.h, which rcl calls a serialized message."""

    _fields_ = [
        ("buffer", ctypes.c_void_p),
        ("buffer_length", ctypes.c_size_t),
        ("buffer_capacity", ctypes.c_size_t),
        ("allocator", Allocator),
    ]


class MessageMemory(Protocol):
    """Memory for one message after the other, by one thread."""

    def offer(self) -> ByteArray:
        """Give what rcl is to write the next message into."""
        ...

    def accept(self, message: ByteArray) -> UInt8:
        """Give the bytes (N,) of a message that was written; it goes with the last array that looks at it."""
        ...

    def withdraw(self, message: ByteArray) -> None:
        """Take back what no message was written into."""
        ...


class RclMemory:
    """What rcl's own allocator gives."""

    def __init__(self, allocator: Allocator, free: Callable[[Any], Any]) -> None:
        self._allocator = allocator
        self._free = free

    def offer(self) -> ByteArray:
        return ByteArray(None, 0, 0, self._allocator)

    def accept(self, message: ByteArray) -> UInt8:
        return np.asarray(_RclBytes(message, self._free))

    def withdraw(self, message: ByteArray) -> None:
        self._free(ctypes.byref(message))


class _RclBytes:
    """Owns the bytes of one message; arrays made of it hold it."""

    def __init__(self, message: ByteArray, free: Callable[[Any], Any]) -> None:
        self._message = message
        self._free = free
        self.__array_interface__ = {
            "version": 3,
            "shape": (message.buffer_length,),
            "typestr": "|u1",
            "data": (message.buffer, True),
        }

    def __del__(self) -> None:
        self._free(ctypes.byref(self._message))


class DeviceMemory:
    """What `make` gives, through an allocator that rcl calls back.

    Such a call needs Python's lock and may wait for it. So rcl is offered as much as the last message took,
    which is what the next image of a camera takes, and calls for another size only.
    """

    def __init__(self, make: MakeMemory) -> None:
        self._blocks = blocks = _Blocks(make)
        self._size = 0
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        # ctypes frees a callback with its Python object: these must outlive what rcl does with a message.
        self._callbacks = (
            ctypes.CFUNCTYPE(pointer, size, pointer)(blocks.allocate),
            ctypes.CFUNCTYPE(None, pointer, pointer)(blocks.deallocate),
            ctypes.CFUNCTYPE(pointer, pointer, size, pointer)(blocks.reallocate),
            ctypes.CFUNCTYPE(pointer, size, size, pointer)(blocks.zero_allocate),
        )
        self._allocator = Allocator(*(ctypes.cast(callback, pointer) for callback in self._callbacks), None)

    def offer(self) -> ByteArray:
        if not self._blocks.by_address and self._size:
            self._blocks.allocate(self._size)
        for address, spare in self._blocks.by_address.items():
            return ByteArray(address, 0, len(spare), self._allocator)
        return ByteArray(None, 0, 0, self._allocator)

    def accept(self, message: ByteArray) -> UInt8:
        # Not the capacity: one large message must not make all that follow as large.
        self._size = message.buffer_length
        block = self._blocks.by_address.pop(message.buffer)[: self._size]
        block.flags.writeable = False
        return block

    def withdraw(self, message: ByteArray) -> None:
        """Keep it for the next message; raises what kept a callback from making memory."""
        failure, self._blocks.failure = self._blocks.failure, None
        if failure:
            raise failure


class _Blocks:
    """The functions of an rcutils_allocator_t; what rcl holds, by its address.

    None raises: what ctypes would give rcl then is no null pointer.
    """

    def __init__(self, make: MakeMemory) -> None:
        self._make = make
        self.by_address: dict[int, UInt8] = {}
        self.failure: BaseException | None = None

    def allocate(self, size: int, state: object = None) -> int | None:
        try:
            block = self._make(size)
        except MemoryError:
            return None  # which rcl tells of
        except BaseException as error:
            self.failure = error
            return None
        address: int = block.ctypes.data
        self.by_address[address] = block
        return address

    def zero_allocate(self, count: int, size: int, state: object = None) -> int | None:
        address = self.allocate(count * size)
        if address:
            self.by_address[address][:] = 0
        return address

    def reallocate(self, address: int | None, size: int, state: object = None) -> int | None:
        new = self.allocate(size)
        old = self.by_address.pop(address, None) if new and address else None
        if new and old is not None:
            kept = min(size, len(old))
            self.by_address[new][:kept] = old[:kept]
        return new

    def deallocate(self, address: int | None, state: object = None) -> None:
        if address:
            self.by_address.pop(address, None)
