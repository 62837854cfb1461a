"""The CUDA sources of the package: compiled when first used, kept by CuPy on the disk, launched by name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import cupy as cp
import numpy as np

from avperception.ops.sources import cuda_source
from avperception.types import Array

OPTIONS = ("--std=c++17", "--generate-line-info")
"""Line numbers cost nothing while a kernel runs; profilers and compute-sanitizer name places by them."""

DELIVERY_BLOCKS = 64
DELIVERY_THREADS = 512

FETCH_BLOCKS = 16
FETCH_THREADS = 256
"""Enough reads under way to fill the bus, and most of the GPU left to what else runs."""


@cache
def kernel(file: str, name: str) -> Any:
    """Give a kernel of `kernels/FILE.cu`."""
    return _module(file).get_function(name)


@cache
def _module(file: str) -> Any:
    return cp.RawModule(code=cuda_source(f"{file}.cu"), options=OPTIONS)


def launch(file: str, name: str, grid: Sequence[int], block: Sequence[int], *arguments: Any) -> None:
    """Put a kernel on the current stream; Python's int, float and None are int32, float32 and null there."""
    kernel(file, name)(tuple(grid), tuple(block), tuple(_argument(value) for value in arguments))


def _argument(value: Any) -> Any:
    if isinstance(value, np.generic):  # a float64 is a float too
        return value
    if value is None:
        return np.uint64(0)
    if isinstance(value, bool | int):
        return np.int32(value)
    return np.float32(value) if isinstance(value, float) else value


def blocks(count: int, size: int) -> int:
    """How many blocks of `size` threads `count` things need."""
    return -(-count // size)


def suffix(array: Array) -> str:
    """The ending of the kernels for this array's type, float32 or float16."""
    return {"float32": "f32", "float16": "f16"}[array.dtype.name]


def deliver(array: Array, addresses: Array, index: int) -> None:
    """Write a contiguous array to pinned host memory at `addresses[index]`, a multiple of 16."""
    grid = min(DELIVERY_BLOCKS, blocks(array.nbytes, 16 * DELIVERY_THREADS))
    launch(
        "deliver",
        "deliver",
        (max(grid, 1),),
        (DELIVERY_THREADS,),
        array,
        addresses,
        index,
        np.int64(array.nbytes),
    )


def fetch_rows(source: Array, rows: Array, target: Array) -> None:
    """Read rows of an image from pinned host memory into `target` (N, bytes of a row).

    `source` (2,) uint64 has the address of the first row and the bytes from one row to the next, `rows` (N,)
    int32 which ones are read.
    """
    count, row_bytes = target.shape
    grid = min(FETCH_BLOCKS, blocks(target.nbytes, 16 * FETCH_THREADS))
    launch(
        "fetch",
        "fetch_rows",
        (max(grid, 1),),
        (FETCH_THREADS,),
        source,
        rows,
        np.int64(count),
        np.int64(row_bytes),
        target,
    )


def announce(flags: Array, index: int) -> None:
    """Set `flags[index]`, a byte in pinned host memory, once all is done that is on the current stream."""
    launch("announce", "announce", (1,), (1,), flags, index)


def hold(milliseconds: float) -> None:
    """Keep the current stream busy, for the host to put on it meanwhile what is to run without gaps."""
    launch("hold", "hold", (1,), (1,), np.int64(1e6 * milliseconds))
