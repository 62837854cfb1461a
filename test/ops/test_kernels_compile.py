"""Every CUDA source compiles for every GPU that the package knows, on a machine without one (NVRTC)."""

from __future__ import annotations

import ctypes
import platform
import re
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

import avperception.ops
from avperception.ops.sources import cuda_source

KERNELS = Path(avperception.ops.__file__).parent / "kernels"
SOURCES = sorted(path.name for path in KERNELS.glob("*.cu"))

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_120")
"""Turing, Ampere (A100, RTX 30, Orin), Ada, Hopper, Blackwell."""

OPTIONS = ("--std=c++17", "--generate-line-info")
"""Those of `avperception.ops.gpu.module`, which cannot be imported without CuPy; a test compares them."""

Compile = Callable[[str, str], bytes]


@cache
def folder() -> Path | None:
    """Where the wheels nvidia-cuda-nvrtc and nvidia-cuda-runtime put CUDA's libraries and headers."""
    spec = find_spec("nvidia")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted(Path(place).glob("cu*/lib/libnvrtc.so.*")):
            return path.parent.parent
    return None


@pytest.fixture(scope="session")
def compile_source() -> Compile:
    """Compiles a source for an architecture into machine code; fails with the compiler's own words."""
    cuda = folder()
    if cuda is None and (platform.system(), platform.machine()) == ("Linux", "x86_64"):
        pytest.fail("nvidia-cuda-nvrtc is not installed: run `make setup`")
    if cuda is None:
        pytest.skip(f"there is no NVRTC for {platform.system()} on {platform.machine()}")
    nvrtc = ctypes.CDLL(str(next((cuda / "lib").glob("libnvrtc.so.*"))))

    def text(function: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        assert getattr(nvrtc, f"{function}Size")(program, ctypes.byref(size)) == 0
        buffer = ctypes.create_string_buffer(size.value)
        assert getattr(nvrtc, function)(program, buffer) == 0
        return buffer.raw

    @cache
    def run(name: str, architecture: str) -> bytes:
        program = ctypes.c_void_p()
        source = cuda_source(name, KERNELS).encode()
        status = nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, name.encode(), 0, None, None)
        assert status == 0
        try:
            options = [*OPTIONS, f"--gpu-architecture={architecture}", f"--include-path={cuda / 'include'}"]
            given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            status = nvrtc.nvrtcCompileProgram(program, len(options), given)
            log = text("nvrtcGetProgramLog", program).rstrip(b"\0").decode()
            assert status == 0 and not log, f"{name} for {architecture}: {log}"
            return text("nvrtcGetCUBIN", program)
        finally:
            nvrtc.nvrtcDestroyProgram(ctypes.byref(program))

    return run


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", SOURCES)
def test_every_source_compiles_without_a_warning(
    compile_source: Compile, name: str, architecture: str
) -> None:
    assert compile_source(name, architecture).startswith(b"\x7fELF")


def test_an_error_in_a_source_is_told(
    compile_source: Compile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.cu").write_text('extern "C" __global__ void broken(int* a) { a[0] = no_such_name; }')
    monkeypatch.setitem(globals(), "KERNELS", tmp_path)
    with pytest.raises(AssertionError, match="no_such_name"):
        compile_source("broken.cu", "sm_86")


def test_the_options_are_those_of_the_package() -> None:
    module = (KERNELS.parent / "gpu" / "module.py").read_text(encoding="utf-8")
    assert f"OPTIONS = {OPTIONS!r}".replace("'", '"') in module


def launched_kernels() -> list[tuple[str, str]]:
    """File and name of all kernels that `ops.gpu` launches under a fixed name."""
    found = set()
    for path in (KERNELS.parent / "gpu").glob("*.py"):
        found |= set(re.findall(r'launch\(\s*"(\w+)",\s*"(\w+)"', path.read_text(encoding="utf-8")))
    return sorted(found)


def test_every_launched_kernel_is_in_its_source(compile_source: Compile) -> None:
    launched = launched_kernels()
    assert ("lanes", "trace_lanes") in launched and len(launched) > 5
    code = {file: compile_source(f"{file}.cu", "sm_86") for file in {file for file, _ in launched}}
    for file, name in launched:
        assert f".text.{name}\0".encode() in code[file], f"{file}.cu has no kernel {name}"
