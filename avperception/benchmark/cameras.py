"""Several cameras at once, each with a thread and a pipeline of its own, the networks' weights shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from avperception.benchmark.clock import rate_hz
from avperception.benchmark.frame import graphs_of, make_pipeline, overlapped_hz
from avperception.benchmark.options import Subject
from avperception.pipeline.camera import CameraPipeline
from avperception.pipeline.device import Device
from avperception.pipeline.device.cuda import CudaDevice
from avperception.pipeline.device.cuda_errors import import_cupy


def measure_cameras(subject: Subject, device: Device) -> list[dict[str, Any]]:
    """Frames a second of all cameras together, for each number of cameras, with the GPU memory taken.

    `one_by_one_hz` is what they give when each waits for its result before the next image;
    `launched_hz` launches the graphs alone, back to back, without any other work of the host. The images lie
    where the node receives them; `copied_` are the rates with images in ordinary memory.
    """
    received = subject.received_by(device)
    return [_row(count, subject, received, device) for count in subject.options.cameras]


def _row(count: int, subject: Subject, received: Subject, device: Device) -> dict[str, Any]:
    pipelines = [make_pipeline(subject, device, f"camera{number}") for number in range(count)]
    row: dict[str, Any] = {"cameras": count, **_rates_hz(pipelines, received)}
    if isinstance(device, CudaDevice):
        row["launched_hz"] = _launched_hz(pipelines, received)
        row["launched_one_by_one_hz"] = _launched_hz(pipelines, received, slots=1)
        free, total = device.memory()
        row["gpu_memory_used_mib"] = (total - free) >> 20
        row |= {f"copied_{name}": rate for name, rate in _rates_hz(pipelines, subject).items()}
    return {key: round(value, 1) for key, value in row.items()}


def _rates_hz(pipelines: Sequence[CameraPipeline], subject: Subject) -> dict[str, float]:
    for pipeline in pipelines:
        overlapped_hz(pipeline, subject)  # warm-up: every slot is captured
    return {
        "overlapped_hz": _together_hz(overlapped_hz, pipelines, subject),
        "one_by_one_hz": _together_hz(_one_by_one, pipelines, subject),
    }


def _together_hz(
    run: Callable[[CameraPipeline, Subject], Any], pipelines: Sequence[CameraPipeline], subject: Subject
) -> float:
    with ThreadPoolExecutor(len(pipelines)) as threads:
        return rate_hz(
            len(pipelines) * subject.options.frames,
            lambda: list(threads.map(lambda pipeline: run(pipeline, subject), pipelines)),
        )


def _one_by_one(pipeline: CameraPipeline, subject: Subject) -> None:
    for number in range(subject.options.frames):
        pipeline.process(subject.image(number))


def _launched_hz(pipelines: Sequence[CameraPipeline], subject: Subject, slots: int | None = None) -> float:
    graphs = [graph for pipeline in pipelines for graph in graphs_of(pipeline)[:slots]]

    def launch() -> None:
        for _ in range(subject.options.frames):
            for graph in graphs:
                graph.relaunch()
        import_cupy().cuda.Device().synchronize()

    return rate_hz(subject.options.frames * len(graphs), launch)
