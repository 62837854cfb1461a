"""How long engines take: enqueued, as a CUDA graph, and to load with and without compiled kernels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

SCRIPT = Path(__file__).resolve().parent.parent / "check_engines_on_gpu.py"
RUNS = 200
WARM_UP = 30


def enqueued_ms(context: Any) -> float:
    """Time of an execution enqueued by itself."""
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    return timed_ms(stream, lambda: context.execute(stream))


def graph_ms(context: Any) -> tuple[float | str, bool]:
    """Time of an execution captured into a CUDA graph, and whether it gives what it gives uncaptured."""
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    if not context.is_capturable(stream):
        return "not capturable", False
    context.execute()
    expected = {name: output.get() for name, output in context.outputs.items()}
    for output in context.outputs.values():
        output.fill(np.nan)
    cupy.cuda.get_current_stream().synchronize()
    with stream:
        stream.begin_capture()
        context.execute(stream)
        graph = stream.end_capture()
    graph.launch(stream)
    stream.synchronize()
    agrees = all(np.array_equal(context.outputs[name].get(), wanted) for name, wanted in expected.items())
    return timed_ms(stream, lambda: graph.launch(stream)), agrees


def timed_ms(stream: Any, launch: Any) -> float:
    """Median time of a launch by CUDA events around each."""
    import cupy

    for _ in range(WARM_UP):
        launch()
    stream.synchronize()
    times = []
    for _ in range(RUNS):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record(stream)
        launch()
        end.record(stream)
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(start, end))
    return float(np.median(times))


def cold_load(path: Path) -> dict[str, Any]:
    """Load in a process of its own, where nothing is in memory or in the JIT cache, which this fills."""
    command = [sys.executable, str(SCRIPT), "installed", "--models", os.environ["AVPERCEPTION_MODELS"]]
    result = subprocess.run([*command, "--load", str(path)], capture_output=True, text=True, check=False)
    if result.returncode:
        return {"problem": " ".join(result.stderr.strip().splitlines()[-1:])}
    return dict(json.loads(result.stdout.splitlines()[-1]))


def time_load(path: Path) -> dict[str, Any]:
    """Time a load and two contexts, with the host's and the GPU's memory that they keep."""
    return timed_load(path)[2]


def timed_load(path: Path) -> tuple[Any, Any, dict[str, Any]]:
    """Load an engine and make contexts; give it, the first one, and what that took."""
    import cupy

    from avperception.engines.tensorrt import TensorrtEngine

    cupy.zeros(1)  # what CUDA itself takes to start is not the engine's
    memory = [_memory_mib()]
    started = time.perf_counter()
    engine = TensorrtEngine(path)
    deserialized = time.perf_counter()
    context = engine.create_context()
    done = time.perf_counter()
    memory.append(_memory_mib())
    second = engine.create_context()
    again = time.perf_counter()
    memory.append(_memory_mib())
    del second
    taken = {
        "deserialize_s": round(deserialized - started, 3),
        "context_s": round(done - deserialized, 3),
        "second_context_s": round(again - done, 3),
        "jit_cache": engine.jit_cache_was_warm,
        "host_mib": [after - before for before, after in pairwise(part[0] for part in memory)],
        "gpu_mib": [after - before for before, after in pairwise(part[1] for part in memory)],
    }
    return engine, context, taken


def _memory_mib() -> tuple[int, int]:
    """Memory in use: of this process on the host, of all processes on the GPU."""
    import cupy

    pages = int(Path("/proc/self/statm").read_text().split()[1])
    free, total = cupy.cuda.runtime.memGetInfo()
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20, (total - free) >> 20
