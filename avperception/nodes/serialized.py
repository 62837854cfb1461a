"""Large messages as bytes, from and to the middleware, without Python's lock.

rclpy holds the lock while it copies an image of 6 MB three times: 2.7 ms each, in which no other thread of
the process computes, looks after a GPU or publishes. rcl's own functions for serialized messages copy twice,
and ctypes lets the lock go meanwhile.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from avperception.errors import MessageError
from avperception.types import UInt8

_OK, _NOTHING_TO_TAKE = 0, 401
"""RCL_RET_OK and RCL_RET_SUBSCRIPTION_TAKE_FAILED of rcl/types.h."""

_ERROR_BYTES = 1024
"""RCUTILS_ERROR_MESSAGE_MAX_LENGTH of rcutils/error_handling.h."""


class _Allocator(ctypes.Structure):
    """rcutils_allocator_t of rcutils/allocator.h, whose functions are only handed on."""

    _fields_ = [
        (name, ctypes.c_void_p) for name in ("allocate", "deallocate", "reallocate", "zero_allocate", "state")
    ]


class _ByteArray(ctypes.Structure):
    """rcutils_uint8_array_t of rcutils/types/uint8_array.h, which rcl calls a serialized message."""

    _fields_ = [
        ("buffer", ctypes.c_void_p),
        ("buffer_length", ctypes.c_size_t),
        ("buffer_capacity", ctypes.c_size_t),
        ("allocator", _Allocator),
    ]


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
        self._free = rcutils.rcutils_uint8_array_fini
        self._free.argtypes = (ctypes.c_void_p,)
        rcutils.rcutils_get_default_allocator.restype = _Allocator
        self._allocator = rcutils.rcutils_get_default_allocator()
        self._error = rcutils.rcutils_get_error_string
        self._error.restype = _ErrorString
        self._reset_error = rcutils.rcutils_reset_error
        self._reset_error.restype = None

    def take(self, subscription: Any) -> UInt8 | None:
        """Take the next message of an rclpy subscription as bytes (N,), None if there is none.

        The memory is rcl's and goes back with the last array that looks at it. Raises MessageError
        `not_taken`.
        """
        message = _ByteArray(None, 0, 0, self._allocator)
        with subscription.handle:
            code = self._take(subscription.handle.pointer, ctypes.byref(message), None, None)
        if code == _OK and message.buffer_length:
            return np.asarray(_Memory(message, self._free))
        self._free(ctypes.byref(message))
        if code in (_OK, _NOTHING_TO_TAKE):
            self._reset_error()
            return None
        raise MessageError("not_taken", f"a message could not be taken: {self._last_error()}")

    def publish(self, publisher: Any, data: UInt8) -> None:
        """Send a serialized message, contiguous bytes (N,), by an rclpy publisher; raises RuntimeError."""
        message = _ByteArray(data.ctypes.data, data.size, data.size, self._allocator)
        with publisher.handle:
            code = self._publish(publisher.handle.pointer, ctypes.byref(message), None)
        if code != _OK:
            raise RuntimeError(f"{publisher.topic_name}: {self._last_error()}")

    def _last_error(self) -> str:
        text = bytes(self._error().text).decode(errors="replace")
        self._reset_error()
        return text


class _Memory:
    """Owns the bytes of one message; arrays made of it hold it."""

    def __init__(self, message: _ByteArray, free: Any) -> None:
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


@cache
def load_rcl() -> Rcl | None:
    """rcl's functions, or None where they are not to be had: then messages go the way of rclpy."""
    try:
        return Rcl()
    except (OSError, AttributeError):
        return None
