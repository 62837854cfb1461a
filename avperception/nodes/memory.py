"""How glibc's allocator treats the buffers of images and point clouds."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass

MIB = 1024 * 1024

# Name, parameter number in glibc's <malloc.h> and value in bytes; glibc accepts no larger mmap threshold.
_THRESHOLDS = (
    ("mmap_threshold", -3, 32 * MIB),
    ("trim_threshold", -1, 1024 * MIB),
    ("top_pad", -2, 64 * MIB),
)
_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_MAX_")
_TUNABLES = ("mmap_threshold", "trim_threshold", "top_pad", "mmap_max")


@dataclass(frozen=True)
class MallocTuning:
    """What `tune_malloc` did: `applied`, and in `detail` the values in force or why they were left alone."""

    applied: bool
    detail: str


def tune_malloc(environment: Mapping[str, str] | None = None) -> MallocTuning:
    """Keep freed message buffers in the process instead of giving each one back to the kernel.

    A 1920x1080 rgb8 image is 6.2 MB and lives in several copies on its way through DDS and rclpy. By
    default glibc maps such blocks one by one, or trims them off the heap when they are freed, so that
    every message faults its 1,500 pages in again and the kernel zeroes each. With an mmap threshold of
    32 MiB, a trim threshold of 1 GiB and a top pad of 64 MiB the pages stay: see docs/transport.md for
    what that saves. The price is that the process keeps its peak of message memory.

    Call it before `rclpy.init`, because memory that is already mapped stays as it is; calling it again
    changes nothing. `environment` is the one to look for the user's own settings in, by default
    `os.environ`: if a MALLOC_* variable or GLIBC_TUNABLES sets one of these values, all are left alone.
    Never raises: a C library without `mallopt` (musl, macOS) or one that refuses a value is reported.
    """
    own = _set_by_user(os.environ if environment is None else environment)
    if own:
        return MallocTuning(False, f"malloc thresholds are left to the environment ({own})")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return MallocTuning(False, "malloc thresholds are not set: this C library has no mallopt (glibc has)")
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    refused = [name for name, parameter, value in _THRESHOLDS if not mallopt(parameter, value)]
    if refused:
        return MallocTuning(False, f"malloc thresholds are not all set: mallopt refused {', '.join(refused)}")
    values = ", ".join(f"{name} {value // MIB} MiB" for name, _, value in _THRESHOLDS)
    return MallocTuning(True, f"malloc keeps message buffers: {values}")


def _set_by_user(environment: Mapping[str, str]) -> str:
    """The name of a variable with which the user sizes malloc already, or nothing."""
    for name in _VARIABLES:
        if environment.get(name):
            return name
    tunables = environment.get("GLIBC_TUNABLES", "")
    if any(f"glibc.malloc.{name}=" in tunables for name in _TUNABLES):
        return "GLIBC_TUNABLES"
    return ""
