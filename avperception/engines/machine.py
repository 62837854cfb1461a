"""The GPU, the driver and the TensorRT of this machine, as far as an engine depends on them."""

from __future__ import annotations

import ctypes
import platform
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from avperception.engines.adapter import flavour
from avperception.errors import EngineError

# CUdevice_attribute of the CUDA driver API.
_COMPUTE_CAPABILITY_MAJOR = 75
_COMPUTE_CAPABILITY_MINOR = 76
_DRIVER_FILES = (Path("/proc/driver/nvidia/version"), Path("/sys/module/nvidia/version"))


@dataclass(frozen=True)
class Gpu:
    """The first CUDA device: name, compute capability such as `8.6`, memory in bytes."""

    name: str
    compute_capability: str
    memory_bytes: int


@dataclass(frozen=True)
class Machine:
    """What an engine depends on. None is what this machine does not have, or does not tell.

    `cuda` is the CUDA version that the driver supports, such as `13.0`; `platform` is the operating
    system and processor, such as `linux-x86_64`.
    """

    platform: str
    gpu: Gpu | None
    gpu_problem: str | None
    driver: str | None
    cuda: str | None
    flavour: str | None
    version: str | None


def current_machine() -> Machine:
    """Find out about this machine; nothing that is missing is an error."""
    gpu, problem, cuda = _cuda_device()
    name = version = None
    with suppress(EngineError):
        found = flavour()
        name, version = found.name, found.version
    return Machine(_platform(), gpu, problem, _driver_version(), cuda, name, version)


def _platform() -> str:
    return f"{platform.system().lower()}-{platform.machine()}"


@lru_cache(maxsize=1)
def _cuda_device() -> tuple[Gpu | None, str | None, str | None]:
    """The first GPU, why there is none, and the driver's CUDA version, through the driver's own library."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None, "no NVIDIA driver is installed (libcuda.so.1 is missing)", None
    cuda = _cuda_version(library)
    status = library.cuInit(0)
    count = ctypes.c_int(0)
    if status == 0:
        status = library.cuDeviceGetCount(ctypes.byref(count))
    if status or not count.value:
        return None, f"the NVIDIA driver shows no GPU (CUDA error {status})", cuda
    return _describe(library), None, cuda


def _cuda_version(library: ctypes.CDLL) -> str | None:
    version = ctypes.c_int(0)
    if library.cuDriverGetVersion(ctypes.byref(version)):
        return None
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def _describe(library: ctypes.CDLL) -> Gpu:
    device = ctypes.c_int(0)
    library.cuDeviceGet(ctypes.byref(device), 0)
    name = ctypes.create_string_buffer(256)
    library.cuDeviceGetName(name, len(name), device)
    memory = ctypes.c_size_t(0)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    numbers = []
    for attribute in (_COMPUTE_CAPABILITY_MAJOR, _COMPUTE_CAPABILITY_MINOR):
        value = ctypes.c_int(0)
        library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        numbers.append(str(value.value))
    return Gpu(name.value.decode(errors="replace"), ".".join(numbers), memory.value)


def _driver_version() -> str | None:
    for path in _DRIVER_FILES:
        with suppress(OSError):
            # "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.159.03  ..." or the number alone.
            if found := re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", path.read_text(errors="replace")):
                return found[1]
    return None
