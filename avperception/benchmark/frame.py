"""One camera: the whole frame, its stages, and the floor below which this machine cannot come."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import numpy as np

from avperception.benchmark.clock import cpu_ms, gpu_ms, host_ms, percentiles, process_ms, rate_hz
from avperception.benchmark.options import Subject
from avperception.errors import AvperceptionError
from avperception.pipeline.camera import CameraPipeline, PendingResult
from avperception.pipeline.detector import DetectorSettings
from avperception.pipeline.device import Device
from avperception.pipeline.device.cuda import CudaDevice, CudaRunner
from avperception.pipeline.device.cuda_errors import import_cupy
from avperception.pipeline.device.cuda_graph import FrameGraph
from avperception.pipeline.network import Network
from avperception.types import CameraResult, Detections2D

HOST_STEPS = ("copy", "launch", "wait")
"""What the host does of a frame on a GPU, as `CameraResult.stage_ms` names it."""


def make_pipeline(subject: Subject, device: Device, name: str = "camera") -> CameraPipeline:
    """One camera's pipeline as the node makes it."""
    return CameraPipeline(name, subject.detector, subject.segmenter, DetectorSettings(), device)


def graphs_of(pipeline: CameraPipeline) -> list[FrameGraph]:
    """The CUDA graphs of a pipeline that has run, one for each frame under way at once."""
    return [runner.graph for runner in pipeline.runners if isinstance(runner, CudaRunner) and runner.graph]


def measure_frame(subject: Subject, device: Device) -> dict[str, Any]:
    """The whole frame from image to result, one at a time and overlapped, and its stages.

    The images lie where the node receives them; for a GPU, what it takes to copy others first is measured
    too (`copied_images`).
    """
    received = subject.received_by(device)
    pipeline = make_pipeline(received, device)
    record = _measure_results(received, pipeline)
    record["stages_ms"] = stages_ms(received, device)
    if isinstance(device, CudaDevice):
        record |= _measure_graph(received, pipeline)
        record["copied_images"] = _measure_copied(subject, device)
    return record


def _measure_results(subject: Subject, pipeline: CameraPipeline) -> dict[str, Any]:
    """From image to result: times, the host's steps of them, its processor's time, and frames a second."""
    detections_ms: list[float] = []

    def process(number: int) -> CameraResult:
        started = time.perf_counter_ns()

        def note(detections: Detections2D) -> None:
            detections_ms.append((time.perf_counter_ns() - started) / 1e6)

        return pipeline.process(subject.image(number), note)

    times, steps = process_ms(process, subject.options)
    record: dict[str, Any] = {"image_to_result_ms": percentiles(times)}
    if detections_ms:
        record["image_to_detections_ms"] = percentiles(detections_ms[-subject.options.frames :])
    host_steps = {name: steps[name] for name in HOST_STEPS if name in steps}
    if host_steps:
        record["host_steps_ms"] = host_steps
    record["cpu_ms"] = round(cpu_ms(process, subject.options), 4)
    started_ns = time.process_time_ns()
    record["overlapped_hz"] = round(overlapped_hz(pipeline, subject), 1)
    overlapped_ms = (time.process_time_ns() - started_ns) / 1e6
    record["overlapped_cpu_ms"] = round(overlapped_ms / subject.options.frames, 4)
    return record


def _measure_copied(subject: Subject, device: Device) -> dict[str, Any]:
    """The same with images in ordinary memory, which the host copies into pinned memory first."""
    pipeline = make_pipeline(subject, device)
    record = _measure_results(subject, pipeline)
    graph = graphs_of(pipeline)[0]

    def copy(number: int) -> None:
        graph.copy(subject.image(number))

    return {
        **record,
        "copy_to_pinned_ms": percentiles(host_ms(copy, subject.options)),
        "copy_to_pinned_cpu_ms": round(cpu_ms(copy, subject.options), 4),
        "copy_to_pinned_bytes": graph.upload_bytes,
    }


def overlapped_hz(pipeline: CameraPipeline, subject: Subject) -> float:
    """Frames a second when one thread begins with images and another takes the results, as in the node."""
    frames = subject.options.frames
    begun: SimpleQueue[PendingResult | None] = SimpleQueue()

    def take() -> None:
        failures = []
        for pending in iter(begun.get, None):  # each is taken, or the other thread would wait for its slot
            try:
                pending.result()
            except AvperceptionError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def work() -> None:
        with ThreadPoolExecutor(1) as taker:
            taken = taker.submit(take)
            try:
                for number in range(frames):
                    begun.put(pipeline.submit(subject.image(number)))
            finally:
                begun.put(None)
        taken.result()

    return rate_hz(frames, work)


def stages_ms(subject: Subject, device: Device) -> dict[str, dict[str, float]]:
    """Each stage by itself; on a GPU not captured for this, but put there before the first begins."""
    single = CudaDevice(graphs=False, mapped=device.mapped) if isinstance(device, CudaDevice) else device
    pipeline = make_pipeline(subject, single)
    _, stages = process_ms(lambda number: pipeline.process(subject.image(number)), subject.options)
    if single is not device:  # the whole of such a frame is that of none, nor is the wait for it
        for name in ("gpu", "camera", "wait"):
            del stages[name]
    return stages


def _measure_graph(subject: Subject, pipeline: CameraPipeline) -> dict[str, Any]:
    """Launch to results in host memory, by events and by the host's clock, against the floor."""
    cupy = import_cupy()
    graph = graphs_of(pipeline)[0]
    floor = _floor(subject, cupy, graph)

    def launch_and_wait(number: int) -> None:
        graph.relaunch()
        graph.stream.synchronize()

    whole = percentiles(gpu_ms(cupy, graph.stream, graph.relaunch, subject.options))
    floor_ms = round(sum(floor["parts_ms"].values()), 4)
    slower_hz = floor.pop("slower_engine_hz")
    return {
        "floor_ms": floor_ms,
        "floor_parts_ms": floor["parts_ms"],
        "whole_frame_ms": whole,
        "whole_frame_by_host_clock_ms": percentiles(host_ms(launch_and_wait, subject.options)),
        "ratio_to_floor": round(whole["p50"] / floor_ms, 4),
        "engines_alone_ms": floor["engines_ms"],
        "slower_engine_alone_hz": round(slower_hz, 1),
        "upload_bytes": graph.upload_bytes,
    }


def _floor(subject: Subject, cupy: Any, graph: Any) -> dict[str, Any]:
    """Pinned upload of all pixels, the slower engine alone as a graph, and the download of the results."""
    options = subject.options
    stream = cupy.cuda.Stream(non_blocking=True)
    engines = {role: EngineGraph(cupy, network, stream) for role, network in subject.networks.items()}
    alone = {
        role: percentiles(gpu_ms(cupy, stream, engine.launch, options)) for role, engine in engines.items()
    }
    slower = max(alone, key=lambda role: alone[role]["p50"])
    upload = _copies_ms(subject, cupy, stream, subject.images[0].data.nbytes, to_device=True)
    download = _copies_ms(subject, cupy, stream, graph.result_bytes, to_device=False)
    parts = {
        "upload": percentiles(upload)["p50"],
        f"{slower} network": alone[slower]["p50"],
        "download": percentiles(download)["p50"],
    }

    def launch_many() -> None:
        for _ in range(options.frames):
            engines[slower].launch()
        stream.synchronize()

    return {
        "parts_ms": parts,
        "engines_ms": alone,
        "slower_engine_hz": rate_hz(options.frames, launch_many),
    }


class EngineGraph:
    """A network's execution alone, captured."""

    def __init__(self, cupy: Any, network: Network, stream: Any) -> None:
        self._stream = stream
        self._context = network.engine.create_context()
        with stream:
            stream.begin_capture()
            self._context.execute(stream)
            self._graph = stream.end_capture()

    def launch(self) -> None:
        """Put one execution on the stream."""
        self._graph.launch(self._stream)


def _copies_ms(subject: Subject, cupy: Any, stream: Any, size: int, *, to_device: bool) -> list[float]:
    """Copies of `size` bytes between pinned and GPU memory."""
    runtime = cupy.cuda.runtime
    memory = cupy.cuda.alloc_pinned_memory(size)
    np.frombuffer(memory, np.uint8, size)[...] = 1
    array = cupy.ones(size, np.uint8)
    cupy.cuda.Device().synchronize()

    def copy() -> None:
        if to_device:
            runtime.memcpyAsync(array.data.ptr, memory.ptr, size, runtime.memcpyHostToDevice, stream.ptr)
        else:
            runtime.memcpyAsync(memory.ptr, array.data.ptr, size, runtime.memcpyDeviceToHost, stream.ptr)

    return gpu_ms(cupy, stream, copy, subject.options)
