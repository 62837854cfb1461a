"""The GPU, its driver, TensorRT and CuPy, and the runtime for machines without them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distributions, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from avperception.doctor.finding import Finding, note, ok, wrong
from avperception.engines import adapter
from avperception.engines.adapter import (
    FLAVOUR_VARIABLE,
    FLAVOURS,
    HOW_TO_INSTALL,
    Flavour,
    probe,
    target_names,
)
from avperception.engines.machine import Machine
from avperception.pipeline.device.cuda_jpeg import NvImageCodec
from avperception.pipeline.device.cuda_jpeg import probe as probe_nvimagecodec

INSTALL_TENSORRT = "pip install 'avperception[tensorrt-rtx]'"
"""On a Jetson it is JetPack's own python3-libnvinfer instead."""

_TEGRA = Path("/etc/nv_tegra_release")
"""A Jetson has this file; with CUDA 12 its wheels of some libraries are others."""


def examine_gpu(machine: Machine) -> Iterator[Finding]:
    """Is there a GPU, and the driver for it? A machine without one runs on its CPU."""
    if machine.gpu is None:
        cpu = "networks run on the CPU with ONNX Runtime"
        yield note("GPU", f"{machine.gpu_problem}: {cpu}")
        return
    memory = f"{machine.gpu.memory_bytes / 2**30:.1f} GiB"
    yield ok("GPU", f"{machine.gpu.name}, compute capability {machine.gpu.compute_capability}, {memory}")
    yield ok("driver", f"{machine.driver or 'of unknown version'}, up to CUDA {machine.cuda or 'unknown'}")


_WHEEL = re.compile(r"(?:cupy-cuda(\d+)x|tensorrt(?:-rtx)?-cu(\d+)(?:-\w+)?)")
"""Packages that say in their name for which CUDA they are."""

_OLDEST_DRIVER = {"12": "525", "13": "580"}
"""By the major version of CUDA, the first driver that runs it (release notes of the CUDA Toolkit)."""


def examine_cuda(machine: Machine, packages: Iterable[str] | None = None) -> Iterator[Finding]:
    """Is the driver new enough for the CUDA that the installed `packages`, by name, were made for?"""
    if machine.gpu is None or machine.cuda is None:
        return
    names = (str(found.metadata["Name"]) for found in distributions()) if packages is None else packages
    normal = sorted({re.sub(r"[-_.]+", "-", name).lower() for name in names})
    majors = {name: match[1] or match[2] for name in normal if (match := _WHEEL.fullmatch(name))}
    driver = int(machine.cuda.partition(".")[0])
    too_new = [name for name, major in majors.items() if int(major) > driver]
    if not too_new:
        yield ok("CUDA", f"{machine.cuda}, made for it or older: {', '.join(majors) or 'no package yet'}")
        return
    major = max((majors[name] for name in too_new), key=int)
    text = f"the driver is for CUDA {machine.cuda}, of CUDA {major} are {', '.join(too_new)}"
    needed = _OLDEST_DRIVER.get(major)
    text += f": driver {needed} or newer is needed" if needed else ": a newer driver is needed"
    yield wrong("CUDA", text, f"sudo apt install nvidia-driver-{needed or 'VERSION'}")


@contextmanager
def chosen_flavour() -> Iterator[list[Finding]]:
    """Give what is wrong with the variable that picks a TensorRT; if it is, look without it meanwhile."""
    chosen = os.environ.get(FLAVOUR_VARIABLE, "")
    if not chosen or (chosen in FLAVOURS and isinstance(probe(chosen), Flavour)):
        yield []
        return
    reason = probe(chosen) if chosen in FLAVOURS else f"it must be one of {', '.join(FLAVOURS)}"
    del os.environ[FLAVOUR_VARIABLE]
    try:
        text = f"{chosen!r}: {reason}; what follows is without it"
        yield [wrong(FLAVOUR_VARIABLE, text, f"unset {FLAVOUR_VARIABLE}")]
    finally:
        os.environ[FLAVOUR_VARIABLE] = chosen


def examine_runtimes(machine: Machine) -> Iterator[Finding]:
    """Which runtimes for networks are installed, and do they fit the GPU?"""
    found = {name: probe(name) for name in FLAVOURS}
    installed = [flavour for flavour in found.values() if isinstance(flavour, Flavour)]
    for name, flavour in found.items():
        if isinstance(flavour, Flavour):
            used = "" if name == adapter.flavour().name else ", not used: the other one is"
            yield ok(name, flavour.version + used)
            yield from _known_gpu(flavour, machine)
        elif installed or machine.gpu is None:
            yield note(name, flavour)
    if not installed and machine.gpu is not None:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in found.items())
        yield wrong("TensorRT", f"{reasons}: {HOW_TO_INSTALL}", INSTALL_TENSORRT)
    yield from _cupy(machine)
    if machine.gpu is not None:
        yield _nvimagecodec(machine)
    yield _onnxruntime()


def _known_gpu(flavour: Flavour, machine: Machine) -> Iterator[Finding]:
    """Whether TensorRT-RTX has heard of this GPU; 1.7 refuses compute capability 9.0, which 1.4 runs."""
    known = target_names() if flavour.is_rtx and flavour.name == adapter.flavour().name else {}
    unknown = known and machine.gpu and machine.gpu.compute_capability not in known
    if unknown and machine.gpu and not flavour.version.startswith("1.4."):
        text = (
            f"{flavour} is made for compute capability {', '.join(known)}: it may refuse {machine.gpu.name}"
        )
        packages = " ".join(f"tensorrt-rtx-cu13-{part}==1.4.0.76" for part in ("libs", "bindings"))
        yield note(flavour.name, text, f"pip install {packages}")


def _cupy(machine: Machine) -> Iterator[Finding]:
    if find_spec("cupy") is None:
        command = f"pip install cupy-cuda{_cuda_major(machine)}x"
        if machine.gpu is None:
            yield note("CuPy", "not installed, it is needed with a GPU only")
        else:
            yield wrong("CuPy", "not installed, TensorRT's buffers need it", command)
        return
    names = packages_distributions().get("cupy", ["cupy"])
    yield ok("CuPy", ", ".join(f"{name} {_version(name)}" for name in names))
    if len(names) > 1:
        command = f"pip uninstall {' '.join(names[1:])}"
        yield wrong("CuPy", f"{len(names)} packages of it overwrite each other: {', '.join(names)}", command)


def _nvimagecodec(machine: Machine) -> Finding:
    found = probe_nvimagecodec()
    if isinstance(found, NvImageCodec):
        return ok("nvImageCodec", f"{found.version}, decodes JPEG images on the GPU")
    major = _cuda_major(machine)
    of_jetson = "tegra-" if _TEGRA.is_file() and major == "12" else ""
    command = f"pip install 'nvidia-nvimgcodec-{of_jetson}cu{major}[nvjpeg]'"
    return note("nvImageCodec", f"{found}: OpenCV decodes JPEG images on the CPU", command)


def _cuda_major(machine: Machine) -> str:
    return "12" if (machine.cuda or "").partition(".")[0] == "12" else "13"


def _onnxruntime() -> Finding:
    if find_spec("onnxruntime") is None:
        return wrong("ONNX Runtime", "not installed", "pip install onnxruntime")
    return ok("ONNX Runtime", _version("onnxruntime"))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "of unknown version"
