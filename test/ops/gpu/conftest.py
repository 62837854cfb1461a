"""Tests of the CUDA kernels against the reference; they run where there is a GPU."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avperception.errors import EngineError
from avperception.pipeline.device.cuda_errors import import_cupy

sys.path.append(str(Path(__file__).resolve().parent.parent))  # the images of `pixels` serve here too


@pytest.fixture(scope="session")
def cupy() -> Any:
    """CuPy, if it sees a GPU."""
    try:
        return import_cupy()
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def gpu(cupy: Any) -> Any:
    """The module of operations on the GPU."""
    from avperception.ops import gpu

    return gpu


@pytest.fixture(autouse=True)
def _every_array_by_itself(cupy: Any) -> Iterator[None]:
    """Give each array memory of its own: compute-sanitizer does not see the borders within a pool."""
    cupy.cuda.set_allocator(None)
    yield
    cupy.cuda.set_allocator(cupy.get_default_memory_pool().malloc)
