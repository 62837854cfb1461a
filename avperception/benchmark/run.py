"""Runs all measurements and makes the record of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from avperception.benchmark.baselines import (
    measure_onnxruntime_cuda,
    measure_sequential_tensorrt,
    measure_torch_eager,
)
from avperception.benchmark.cameras import measure_cameras
from avperception.benchmark.frame import measure_frame
from avperception.benchmark.lidar import measure_lidar
from avperception.benchmark.machine import describe
from avperception.benchmark.options import Subject
from avperception.pipeline.device import Device
from avperception.pipeline.device.cuda import CudaDevice

Progress = Callable[[str], None]


def run_benchmark(
    subject: Subject, device: Device, *, baselines: bool = True, progress: Progress = lambda text: None
) -> dict[str, Any]:
    """Measure one frame, several cameras, the usual ways and the lidar, on an idle machine.

    On a GPU the record has `floor_ms`, `whole_frame_ms`, `ratio_to_floor` and `speedup_over`.
    """
    record: dict[str, Any] = {
        "machine": describe(subject),
        "device": device.name,
        "config": subject.options.as_dict(),
    }
    progress("one camera")
    record |= measure_frame(subject, device)
    if subject.options.cameras:
        progress("several cameras")
        record["cameras"] = measure_cameras(subject, device)
    if isinstance(device, CudaDevice):
        if subject.options.points:
            progress("lidar")
            record["lidar"] = measure_lidar(subject.options)
        if baselines:
            record |= _against_the_usual(subject, record, progress)
    return record


def _against_the_usual(subject: Subject, record: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The same frames done in the usual ways, and how many times as long they take, image to result."""
    found = {}
    for name, measure in (
        ("sequential_tensorrt_cpu", measure_sequential_tensorrt),
        ("onnxruntime_cuda", measure_onnxruntime_cuda),
        ("torch_eager", measure_torch_eager),
    ):
        progress(name)
        found[name] = measure(subject)
    return {
        "baselines": found,
        "speedup_over": _times_as_long(found, record["image_to_result_ms"]),
        "speedup_over_from_launch": _times_as_long(found, record["whole_frame_ms"]),
        "speedup_over_overlapped": _times_as_long(found, {"p50": 1e3 / record["overlapped_hz"]}),
        "engine_speedup_over_onnxruntime_cuda": _engines_against(
            found["onnxruntime_cuda"], record["engines_alone_ms"]
        ),
    }


def _engines_against(
    onnxruntime: dict[str, Any] | str, own_ms: dict[str, dict[str, float]]
) -> dict[str, float] | None:
    """How many times as long each network alone takes in ONNX Runtime; 3.7 is what others report."""
    if isinstance(onnxruntime, str):
        return None
    theirs = onnxruntime["engines_alone_ms"]
    return {role: round(theirs[role]["p50"] / own["p50"], 2) for role, own in own_ms.items()}


def _times_as_long(found: dict[str, Any], own_ms: dict[str, float]) -> dict[str, float | None]:
    """How many times as long each took from image to result, one image after the other, as this.

    From launch, our own copy is left out; overlapped, it is the time between two of our results.
    """
    return {
        name: round(result["image_to_result_ms"]["p50"] / own_ms["p50"], 2)
        if isinstance(result, dict)
        else None
        for name, result in found.items()
    }
