"""NVIDIA GPUs on cards, through the driver's management library (package nvidia-ml-py)."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, TypeVar

from avperception.nodes.health.gpu import GpuReader, GpuReading

Value = TypeVar("Value")

_SLOWDOWNS = (
    (0x08, "hardware slowdown"),
    (0x20, "heat (software)"),
    (0x40, "heat (hardware)"),
    (0x80, "power brake"),
)
"""Bits of nvmlClocksEventReasons that say that something is wrong; that of a power cap under load is none."""


def nvml_reader() -> GpuReader | None:
    """Give what reads the first CUDA device; None without nvidia-ml-py, its driver or a GPU."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        if not pynvml.nvmlDeviceGetCount():
            return None
        handle = _device(pynvml)
    except pynvml.NVMLError:
        return None
    name = _tell(pynvml, lambda: pynvml.nvmlDeviceGetName(handle)) or "GPU"
    return lambda: _read(pynvml, handle, name)


def _device(nvml: Any) -> Any:
    """The device that CUDA, which may number GPUs otherwise and hide some, has first."""
    bus_id = None if nvml.nvmlDeviceGetCount() == 1 else _first_cuda_device()
    return nvml.nvmlDeviceGetHandleByPciBusId(bus_id) if bus_id else nvml.nvmlDeviceGetHandleByIndex(0)


def _first_cuda_device() -> str | None:
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    bus_id = ctypes.create_string_buffer(32)
    if cuda.cuInit(0) or cuda.cuDeviceGetPCIBusId(bus_id, len(bus_id), 0):
        return None
    return bus_id.value.decode()


def _read(nvml: Any, handle: Any, name: str) -> GpuReading:
    memory = _tell(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    temperature = _tell(nvml, lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
    rates = _tell(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handle))
    clock = _tell(nvml, lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
    power = _tell(nvml, lambda: nvml.nvmlDeviceGetPowerUsage(handle))
    # The older name works with older drivers too.
    reasons = _tell(nvml, lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)) or 0
    return GpuReading(
        name=name,
        temperature_c=None if temperature is None else float(temperature),
        memory_used_bytes=int(memory.used) if memory else None,
        memory_total_bytes=int(memory.total) if memory else None,
        utilization=rates.gpu / 100 if rates else None,
        clock_mhz=None if clock is None else float(clock),
        power_w=None if power is None else power / 1000,
        slowed_by=tuple(text for bit, text in _SLOWDOWNS if reasons & bit),
    )


def _tell(nvml: Any, ask: Callable[[], Value]) -> Value | None:
    """What a GPU tells, None where this one does not know it; raises OSError when it is gone."""
    try:
        return ask()
    except (
        nvml.NVMLError_GpuIsLost,
        nvml.NVMLError_Uninitialized,
        nvml.NVMLError_ResetRequired,
    ) as error:
        raise OSError(f"the driver does not reach the GPU any more: {error}") from error
    except nvml.NVMLError:
        return None
