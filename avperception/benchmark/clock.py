"""Times of repeated work: on the host by the monotonic clock, on a GPU by events."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from avperception.benchmark.options import BenchmarkOptions
from avperception.types import CameraResult


def percentiles(samples_ms: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and worst of times [ms]."""
    p50, p99 = np.percentile(samples_ms, (50, 99))
    return {"p50": round(float(p50), 4), "p99": round(float(p99), 4), "max": round(float(max(samples_ms)), 4)}


def host_ms(work: Callable[[int], Any], options: BenchmarkOptions) -> list[float]:
    """Milliseconds that each call of `work` with a running number takes."""
    for number in range(options.warm_up):
        work(number)
    times = []
    for number in range(options.frames):
        started = time.perf_counter_ns()
        work(number)
        times.append((time.perf_counter_ns() - started) / 1e6)
    return times


def process_ms(
    process: Callable[[int], CameraResult], options: BenchmarkOptions
) -> tuple[list[float], dict[str, dict[str, float]]]:
    """Milliseconds of each frame, and the percentiles of its stages by name."""
    stages: dict[str, list[float]] = {}

    def work(number: int) -> None:
        for stage, milliseconds in process(number).stage_ms.items():
            stages.setdefault(stage, []).append(milliseconds)

    times = host_ms(work, options)
    return times, {stage: percentiles(samples[-options.frames :]) for stage, samples in stages.items()}


def cpu_ms(work: Callable[[int], Any], options: BenchmarkOptions) -> float:
    """Mean milliseconds of processor time that this thread spends on a call of `work`."""
    started = time.thread_time_ns()
    for number in range(options.frames):
        work(number)
    return (time.thread_time_ns() - started) / 1e6 / options.frames


def gpu_ms(cupy: Any, stream: Any, launch: Callable[[], Any], options: BenchmarkOptions) -> list[float]:
    """Milliseconds between two events around what each `launch` puts on the stream, one after the other."""
    for _ in range(options.warm_up):
        launch()
    stream.synchronize()
    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    times = []
    for _ in range(options.frames):
        start.record(stream)
        launch()
        end.record(stream)
        end.synchronize()
        times.append(float(cupy.cuda.get_elapsed_time(start, end)))
    return times


def rate_hz(count: int, work: Callable[[], Any]) -> float:
    """How often a second something happened, which `work` did `count` times."""
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)
