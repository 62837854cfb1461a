"""How long engines take: enqueued, as a CUDA graph, and to load with and without compiled kernels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

SCRIPT = Path(__file__).resolve().parent.parent / "check_engines_on_gpu.py"
RUNS = 300
WARM_UP = 30


def enqueued_ms(context: Any) -> float:
    """Time of an execution enqueued by itself."""
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    return timed_ms(stream, lambda: context.execute(stream))


def graph_ms(context: Any) -> float | str:
    """Time of an execution captured into a CUDA graph."""
    import cupy

    stream = cupy.cuda.Stream(non_blocking=True)
    if not context.is_capturable(stream):
        return "not capturable"
    with stream:
        stream.begin_capture()
        context.execute(stream)
        graph = stream.end_capture()
    return timed_ms(stream, lambda: graph.launch(stream))


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


def load_in_process(path: Path) -> dict[str, Any]:
    """Load in a process of its own, which has nothing in memory yet: the first fills the JIT cache."""
    command = [sys.executable, str(SCRIPT), "installed", "--models", os.environ["AVPERCEPTION_MODELS"]]
    result = subprocess.run([*command, "--load", str(path)], capture_output=True, text=True, check=False)
    if result.returncode:
        return {"problem": result.stderr.strip().splitlines()[-1:]}
    return json.loads(result.stdout.splitlines()[-1])


def time_load(path: Path) -> dict[str, Any]:
    """Time what a process takes to load an engine and to make its first context."""
    import cupy

    from avperception.engines.tensorrt import TensorrtEngine

    cupy.zeros(1)  # what CUDA itself takes to start is not the engine's
    started = time.perf_counter()
    engine = TensorrtEngine(path)
    deserialized = time.perf_counter()
    engine.create_context()
    done = time.perf_counter()
    return {
        "deserialize_s": deserialized - started,
        "context_s": done - deserialized,
        "jit_cache": engine.jit_cache_was_warm,
    }
