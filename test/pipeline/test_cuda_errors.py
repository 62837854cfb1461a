"""What is said where CuPy cannot be used, on a machine without it: its own errors are shown to `import_cupy`.

The texts are those of CuPy 12 to 14 on a machine without an NVIDIA driver.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest

from avperception.errors import EngineError, GpuLostError
from avperception.pipeline.device.cuda import CudaDevice
from avperception.pipeline.device.cuda_errors import cuda_errors, import_cupy

NO_DRIVER = "libcuda.so.1: cannot open shared object file: No such file or directory"

ADVICE_OF_CUPY = """
================================================================
Failed to import CuPy.

If you installed CuPy via wheels (cupy-cudaXXX or cupy-rocm-X-X), make sure that the package matches ...

Original error:
  ImportError: libcuda.so.1: cannot open shared object file: No such file or directory
================================================================
"""


class CUDARuntimeError(RuntimeError):
    """As CuPy's."""


class CUDADriverError(RuntimeError):
    """As CuPy's."""


class OutOfMemoryError(MemoryError):
    """As CuPy's."""


def cupy_whose(*, device_count: Exception | int = 1, nvrtc: Exception | tuple[int, int] = (13, 0)) -> Any:
    """What of CuPy `import_cupy` asks, with these answers."""

    def answer(value: object) -> object:
        if isinstance(value, Exception):
            raise value
        return value

    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=lambda: answer(device_count),
        memGetInfo=lambda: (123 << 20, 8192 << 20),
    )
    memory = SimpleNamespace(OutOfMemoryError=OutOfMemoryError)
    compiler = SimpleNamespace(getVersion=lambda: answer(nvrtc))
    driver = SimpleNamespace(CUDADriverError=CUDADriverError)
    return SimpleNamespace(
        cuda=SimpleNamespace(runtime=runtime, driver=driver, memory=memory, nvrtc=compiler)
    )


def refusal(monkeypatch: pytest.MonkeyPatch, cupy: Any) -> str:
    """What is said when this is what `import cupy` gives."""
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(EngineError) as error:
        CudaDevice()
    assert "\n" not in str(error.value) and "backend to onnxruntime" in str(error.value)
    return str(error.value)


@pytest.mark.skipif(find_spec("cupy") is not None, reason="CuPy is installed")
def test_without_cupy_the_command_that_installs_it_is_named() -> None:
    with pytest.raises(EngineError) as error:
        import_cupy()
    assert "pip install cupy-cuda13x" in str(error.value) and "No module named 'cupy'" in str(error.value)


def test_of_a_page_of_advice_only_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "cupy":
                reason = ImportError(
                    "libcuda.so.1: cannot open shared object file: No such file or directory"
                )
                raise ImportError(ADVICE_OF_CUPY) from reason

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    with pytest.raises(EngineError) as error:
        import_cupy()
    assert f"({NO_DRIVER})" in str(error.value)
    assert "\n" not in str(error.value) and "====" not in str(error.value)


@pytest.mark.parametrize(
    "reason",
    [
        "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version",
        "cudaErrorNoDevice: no CUDA-capable device is detected",
    ],
)
def test_without_a_gpu_or_with_too_old_a_driver_the_doctor_is_named(
    monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    said = refusal(monkeypatch, cupy_whose(device_count=CUDARuntimeError(reason)))
    assert reason in said and "avperception doctor" in said


@pytest.mark.parametrize(
    "reason",
    [
        'Failure finding "libnvrtc.so.13 or libnvrtc.so.12": No such file: libnvrtc.so.13\n',
        "CuPy failed to load libnvrtc.so.12: OSError: libnvrtc.so.12: cannot open shared object file",
    ],
)
def test_without_the_compiler_of_its_cuda_what_brings_it_is_named(
    monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    said = refusal(monkeypatch, cupy_whose(nvrtc=RuntimeError(reason)))
    assert reason.strip() in said and "cupy-cuda13x[ctk]" in said


def test_a_usable_cupy_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = cupy_whose()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert import_cupy() is cupy


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("Out of memory allocating 6,220,800 bytes (allocated so far: 512 bytes)."),
        CUDARuntimeError("cudaErrorMemoryAllocation: out of memory"),
        CUDADriverError("CUDA_ERROR_OUT_OF_MEMORY: out of memory"),
    ],
)
def test_too_little_memory_is_said_with_the_figures(error: Exception) -> None:
    figures = "no memory left for a frame .* 123 of 8192 MiB are free"
    with pytest.raises(EngineError, match=figures), cuda_errors(cupy_whose()):
        raise error


def test_a_lost_gpu_is_told_from_an_error_that_passes() -> None:
    with pytest.raises(GpuLostError, match="start it again"), cuda_errors(cupy_whose()):
        raise CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")
    with pytest.raises(GpuLostError, match="start it again"), cuda_errors(cupy_whose()):
        raise CUDADriverError("CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure")
    with pytest.raises(EngineError) as error, cuda_errors(cupy_whose()):
        raise CUDARuntimeError("cudaErrorInvalidValue: invalid\nargument")
    assert not isinstance(error.value, GpuLostError)
    assert str(error.value) == "CUDA failed: cudaErrorInvalidValue: invalid argument"
