"""The malloc thresholds: what they do to page faults, and when they are left alone."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from avperception.nodes.memory import tune_malloc

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the thresholds are glibc's")

# Five image-sized blocks live and die together ten times, as a message does in its copies. The page faults of
# the last eight times are printed.
PROBE = """
import ctypes, resource, sys
from avperception.nodes.memory import tune_malloc
if sys.argv[1] == "tuned":
    assert tune_malloc().applied
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
for turn in range(10):
    if turn == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [libc.malloc(6_220_800) for _ in range(5)]
    for block in blocks:
        ctypes.memset(block, 1, 6_220_800)
    for block in blocks:
        libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str, repository: str) -> int:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))
    }
    command = [sys.executable, "-c", PROBE, how]
    done = subprocess.run(
        command, env=environment, cwd=repository, capture_output=True, text=True, check=True, timeout=60
    )
    return int(done.stdout)


@needs_glibc
def test_tuned_process_keeps_the_pages_of_freed_images(repository):
    pages = 6_220_800 // os.sysconf("SC_PAGESIZE")
    assert page_faults("tuned", repository) < pages
    assert page_faults("untuned", repository) > 8 * pages, (
        "the probe no longer shows what the thresholds are for"
    )


@needs_glibc
def test_tuning_says_what_is_in_force_and_can_be_repeated():
    first, second = tune_malloc({}), tune_malloc({})
    assert first.applied
    assert first == second
    assert "mmap_threshold 32 MiB" in first.detail


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MALLOC_MMAP_THRESHOLD_", "65536"),
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("MALLOC_TOP_PAD_", "0"),
        ("GLIBC_TUNABLES", "glibc.rtld.nns=4:glibc.malloc.mmap_threshold=65536"),
    ],
)
def test_the_users_own_setting_is_left_alone_and_named(name, value):
    tuning = tune_malloc({name: value})
    assert not tuning.applied
    assert name in tuning.detail


@needs_glibc
@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "MALLOC_PERTURB_"])
def test_unrelated_malloc_variables_do_not_stop_it(name):
    assert tune_malloc({name: "2"}).applied


def test_c_library_without_mallopt_is_reported(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    tuning = tune_malloc({})
    assert not tuning.applied
    assert "no mallopt" in tuning.detail


def test_refused_value_is_named(monkeypatch):
    def mallopt(parameter: int, value: int) -> int:
        return int(parameter != -3)

    monkeypatch.setattr("ctypes.CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    tuning = tune_malloc({})
    assert not tuning.applied
    assert "refused mmap_threshold" in tuning.detail
