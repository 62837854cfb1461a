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
    "cudaErrorExternalDevice",
    "cudaErrorNvlinkUncorrectable",
    "cudaErrorContained",
    "cudaErrorUnknown",
    "CUDA_ERROR_ILLEGAL_ADDRESS",
    "CUDA_ERROR_LAUNCH_FAILED",
    "CUDA_ERROR_HARDWARE_STACK_ERROR",
    "CUDA_ERROR_ILLEGAL_INSTRUCTION",
    "CUDA_ERROR_MISALIGNED_ADDRESS",
    "CUDA_ERROR_INVALID_ADDRESS_SPACE",
    "CUDA_ERROR_INVALID_PC",
    "CUDA_ERROR_LAUNCH_TIMEOUT",
    "CUDA_ERROR_ECC_UNCORRECTABLE",
    "CUDA_ERROR_ASSERT",
    "CUDA_ERROR_EXTERNAL_DEVICE",
    "CUDA_ERROR_NVLINK_UNCORRECTABLE",
    "CUDA_ERROR_CONTAINED",
    "CUDA_ERROR_UNKNOWN",
)
"""After one of these every call of the process fails (`cudaError_t` and `CUresult` of the two CUDA APIs)."""

_OUT_OF_MEMORY = ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY")


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
    except (
        cupy.cuda.memory.OutOfMemoryError,
        cupy.cuda.runtime.CUDARuntimeError,
        cupy.cuda.driver.CUDADriverError,  # of a kernel's launch and of the loading of its module
    ) as error:
        text = " ".join(str(error).split())
        if any(name in text for name in _LOST):
            raise GpuLostError(f"the GPU is lost to this process ({text}): start it again") from error
        is_too_small = any(name in text for name in _OUT_OF_MEMORY)
        if is_too_small or isinstance(error, cupy.cuda.memory.OutOfMemoryError):
            free, total = cupy.cuda.runtime.memGetInfo()
            raise EngineError(
                f"the GPU has no memory left for a frame ({text}): {free >> 20} of {total >> 20} MiB are "
                "free; use fewer cameras or smaller images"
            ) from error
        raise EngineError(f"CUDA failed: {text}") from error
