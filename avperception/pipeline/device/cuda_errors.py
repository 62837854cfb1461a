"""CuPy brought in, and its errors in words of one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from avperception.errors import EngineError, GpuLostError

_LOST = (
    "cudaErrorIllegalAddress",
    "cudaErrorLaunchFailure",
    "cudaErrorHardwareStackError",
    "cudaErrorIllegalInstruction",
    "cudaErrorMisalignedAddress",
    "cudaErrorInvalidAddressSpace",
    "cudaErrorInvalidPc",
    "cudaErrorLaunchTimeout",
    "cudaErrorECCUncorrectable",
    "cudaErrorAssert",
)
"""After one of these every call of the process fails (CUDA Runtime API, `cudaError_t`)."""

_OUT_OF_MEMORY = "cudaErrorMemoryAllocation"


def import_cupy() -> Any:
    """Import CuPy and make sure that it can use a GPU; raises EngineError with the reason."""
    try:
        import cupy
    except ImportError as error:
        # CuPy wraps the reason into a page of advice.
        raise EngineError(
            f"the GPU pipeline needs CuPy ({error.__cause__ or error}): run `pip install cupy-cuda13x` (for "
            "CUDA 12 cupy-cuda12x), or set backend to onnxruntime"
        ) from error
    try:
        cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise EngineError(
            f"CuPy finds no usable GPU ({error}): `avperception doctor` tells what is missing, or set "
            "backend to onnxruntime"
        ) from error
    try:
        cupy.cuda.nvrtc.getVersion()
    except RuntimeError as error:
        raise EngineError(
            f"CuPy finds no compiler for its CUDA ({' '.join(str(error).split())}): run `pip install "
            '"cupy-cuda13x[ctk]"` (for CUDA 12 cupy-cuda12x), or set backend to onnxruntime'
        ) from error
    return cupy


@contextmanager
def cuda_errors(cupy: Any) -> Iterator[None]:
    """Turn CuPy's errors into EngineError, or GpuLostError when nothing works any more."""
    try:
        yield
    except (cupy.cuda.memory.OutOfMemoryError, cupy.cuda.runtime.CUDARuntimeError) as error:
        text = " ".join(str(error).split())
        if any(name in text for name in _LOST):
            raise GpuLostError(f"the GPU is lost to this process ({text}): start it again") from error
        if isinstance(error, cupy.cuda.memory.OutOfMemoryError) or _OUT_OF_MEMORY in text:
            free, total = cupy.cuda.runtime.memGetInfo()
            raise EngineError(
                f"the GPU has no memory left for a frame ({text}): {free >> 20} of {total >> 20} MiB are "
                "free; use fewer cameras or smaller images"
            ) from error
        raise EngineError(f"CUDA failed: {text}") from error
