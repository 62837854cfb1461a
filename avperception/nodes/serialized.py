"""Large messages as bytes, from and to the middleware, without Python's lock.

rclpy holds the lock while it copies an image of 6 MB three times: 2.7 ms each, in which no other thread of
the process computes, looks after a GPU or publishes. rcl's own functions for serialized messages copy twice,
and ctypes lets the lock go meanwhile.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from avperception.errors import MessageError
from avperception.nodes.message_memory import Allocator, ByteArray, MessageMemory, RclMemory
from avperception.types import UInt8

_OK, _NOTHING_TO_TAKE = 0, 401
"""RCL_RET_OK and RCL_RET_SUBSCRIPTION_TAKE_FAILED of rcl/types.h."""

_ERROR_BYTES = 1024
"""RCUTILS_ERROR_MESSAGE_MAX_LENGTH of rcutils/error_handling.h."""


class _ErrorString(ctypes.Structure):
    """rcutils_error_string_t of rcutils/error_handling.h."""

    _fields_ = [("text", ctypes.c_char * _ERROR_BYTES)]


class Rcl:
    """Functions of the librcl that rclpy has loaded; raises OSError or AttributeError where it has none."""

    def __init__(self) -> None:
        rcl, rcutils = ctypes.CDLL("librcl.so"), ctypes.CDLL("librcutils.so")
        self._take = rcl.rcl_take_serialized_message
        self._take.argtypes = (ctypes.c_void_p,) * 4
        self._publish = rcl.rcl_publish_serialized_message
        self._publish.argtypes = (ctypes.c_void_p,) * 3
        free = rcutils.rcutils_uint8_array_fini
        free.argtypes = (ctypes.c_void_p,)
        rcutils.rcutils_get_default_allocator.restype = Allocator
        self._allocator = rcutils.rcutils_get_default_allocator()
        self._memory = RclMemory(self._allocator, free)
        self._error = rcutils.rcutils_get_error_string
        self._error.restype = _ErrorString
        self._reset_error = rcutils.rcutils_reset_error
        self._reset_error.restype = None

    def take(self, subscription: Any, memory: MessageMemory | None = None) -> UInt8 | None:
        """Take the next message of an rclpy subscription as bytes (N,), None if there is none.

        They lie in `memory`, or else in rcl's own. Raises MessageError `not_taken`.
        """
        memory = memory or self._memory
        message = memory.offer()
        with subscription.handle:
            code = self._take(subscription.handle.pointer, ctypes.byref(message), None, None)
        if code == _OK and message.buffer_length:
            return memory.accept(message)
        memory.withdraw(message)
        if code in (_OK, _NOTHING_TO_TAKE):
            self._reset_error()
            return None
        raise MessageError("not_taken", f"a message could not be taken: {self._last_error()}")

    def publish(self, publisher: Any, data: UInt8) -> None:
        """Send a serialized message, contiguous bytes (N,), by an rclpy publisher; raises RuntimeError."""
        message = ByteArray(data.ctypes.data, data.size, data.size, self._allocator)
        with publisher.handle:
            code = self._publish(publisher.handle.pointer, ctypes.byref(message), None)
        if code != _OK:
            raise RuntimeError(f"{publisher.topic_name}: {self._last_error()}")

    def _last_error(self) -> str:
        text = bytes(self._error().text).decode(errors="replace")
        self._reset_error()
        return text


@cache
def load_rcl() -> Rcl | None:
    """rcl's functions, or None where they are not to be had: then messages go the way of rclpy."""
    try:
        return Rcl()
    except (OSError, AttributeError):
        return None
