"""A GPU: a frame's work is captured once into a CUDA graph, and a frame is then one copy and one launch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

from avperception.ops.jpeg import JpegImage
from avperception.pipeline.device.cuda_errors import cuda_errors, import_cupy
from avperception.pipeline.device.cuda_graph import FrameGraph
from avperception.pipeline.device.cuda_jpeg import HOW_TO_INSTALL, JpegDecoder, NvImageCodec, probe
from avperception.pipeline.device.cuda_sweep import CudaSweepRunner
from avperception.pipeline.device.cuda_waiting import Patience
from avperception.pipeline.device.device import Delivery, Work
from avperception.pipeline.device.pinned import PinnedMemory, PinnedRows, pinned_rows
from avperception.pipeline.device.sweep import SweepWork
from avperception.types import Array, Image

FRAMES_AT_ONCE = 2
"""One frame is copied and uploaded while the one before is computed."""

LONGEST_LOOK_S = 1.0
"""What is not there by then is left to CUDA's own wait."""

_capturing = threading.Lock()
"""CUDA forbids to wait for a GPU, as each capture does at its start, while any stream of it is captured."""


class CudaDevice:
    """The current GPU.

    `graphs` false runs every stage by itself, each timed, which is for looking at them. With `mapped` the
    GPU reads an image where the host wrote it; without a word it does so where the two share their memory.
    Raises EngineError where CuPy or a GPU is missing.
    """

    name = "cuda"
    frames_at_once = FRAMES_AT_ONCE

    def __init__(self, *, graphs: bool = True, mapped: bool | None = None) -> None:
        cupy = import_cupy()
        self.graphs = graphs
        self.mapped = bool(cupy.cuda.Device().attributes["Integrated"]) if mapped is None else mapped

    @property
    def ops(self) -> ModuleType:
        """The operations in CUDA."""
        from avperception.ops import gpu

        return gpu

    @property
    def jpeg_decoder(self) -> str:
        """What decodes JPEG images, and if it is not the GPU, why."""
        found = probe()
        if isinstance(found, NvImageCodec):
            return str(found)
        return f"OpenCV (nvImageCodec is not used: {found}; {HOW_TO_INSTALL})"

    def memory(self) -> tuple[int, int]:
        """Bytes of GPU memory that are free, and that there are."""
        free, total = import_cupy().cuda.runtime.memGetInfo()
        return int(free), int(total)

    def full(self, shape: tuple[int, ...], value: int) -> Array:
        """Make an array of uint8 in GPU memory that holds one value."""
        return import_cupy().full(shape, value, dtype="uint8")

    def make_image_memory(self) -> PinnedMemory:
        """Give what makes pinned memory, where the GPU reads an image itself."""
        return PinnedMemory()

    def make_runner(self, work: Work) -> CudaRunner:
        """Make a runner of this work, with streams and buffers of its own."""
        return CudaRunner(work, self)

    def make_sweep_runner(self, work: SweepWork) -> CudaSweepRunner:
        """Make a runner of this work on sweeps, with a stream and buffers of its own."""
        return CudaSweepRunner(work, self.ops, _capturing, graphs=self.graphs, mapped=self.mapped)


class CudaRunner:
    """One frame at a time on streams of its own; nothing is allocated while frames of one layout come."""

    def __init__(self, work: Work, device: CudaDevice) -> None:
        self._cupy = import_cupy()
        self._work = work
        self._device = device
        self._stream = self._cupy.cuda.Stream(non_blocking=True)
        self._whole, self._early = Patience(), Patience()
        self._launched_s = 0.0
        self._layout: Hashable = None
        self.graph: FrameGraph | None = None
        self._pending: tuple[Delivery, dict[str, NDArray[Any]], int, Image] | None = None
        self._jpeg_decoder: JpegDecoder | None = None
        self.captures = 0

    def launch(self, image: Image, layout: Hashable, deliver: Delivery) -> None:
        """Copy the image into pinned memory and launch the graph; captures it anew for a new layout.

        An image that lies there already is not copied: the GPU reads it where it lies.
        """
        started_ns = time.perf_counter_ns()
        pinned = pinned_rows(image)
        layout = (isinstance(image, JpegImage), pinned is not None, layout)
        with cuda_errors(self._cupy):
            if self.graph is None or layout != self._layout:
                if isinstance(image, JpegImage):
                    image.decode()  # a damaged image's size must not cost the graph of the sound ones
                self._capture(image, pinned, layout)
            assert self.graph is not None
            try:
                results = self.graph.launch(image, pinned)
            except BaseException:  # what is on the stream by then may still read the image
                self._stream.synchronize()
                raise
            self._launched_s = time.perf_counter()
        self._pending = (deliver, results, started_ns, image)

    def wait(self) -> Mapping[str, float]:
        """Wait without holding Python's lock, and deliver what is there."""
        if self._pending is None or self.graph is None:
            return {}
        # The GPU may read the image until the frame has ended.
        (deliver, results, started_ns, _image), self._pending = self._pending, None
        graph, waited_ms = self.graph, 0.0
        with cuda_errors(self._cupy):
            try:
                for name in graph.early_results:
                    waited_ms += self._await(partial(graph.has_arrived, name), self._early)
                    deliver(name, results.pop(name))
            finally:  # nothing of this frame may run any more when the next one begins
                waited_ms += self._await(graph.has_ended, self._whole)
            gpu_ms = (time.perf_counter_ns() - started_ns) / 1e6
            stage_ms = {**graph.stage_ms(), "wait": waited_ms, "gpu": gpu_ms}
        for name, result in results.items():
            deliver(name, result)
        return stage_ms

    def _await(self, has_come: Callable[[], bool], patience: Patience) -> float:
        """Wait until the GPU has announced something; gives the milliseconds that took."""
        start_s = time.perf_counter()
        # To look at a flag now and then takes a third of the processor time that CUDA's own wait spins away.
        if not patience.wait(self._launched_s, has_come, LONGEST_LOOK_S):
            self._stream.synchronize()  # a GPU that is lost announces nothing: this raises
        return 1e3 * (time.perf_counter() - start_s)

    def _capture(self, image: Image, pinned: PinnedRows | None, layout: Hashable) -> None:
        ops, work, stream = self._device.ops, self._work, self._stream
        decoder, in_place = self._decoder_of(image), pinned is not None
        with _capturing:
            # The old graph goes first: frames of ever new sizes must not pile up in memory.
            self.graph, self._layout = None, None
            graph = FrameGraph(self._cupy, ops, work, image, stream, decoder, in_place=in_place)
            graph.prepare(capture=self._device.graphs, mapped=self._device.mapped, pinned=pinned)
        self.graph, self._layout = graph, layout
        self._whole, self._early = Patience(), Patience()
        self.captures += 1

    def _decoder_of(self, image: Image) -> JpegDecoder | None:
        """What decodes an image on this runner's stream, if it is a JPEG and nvImageCodec is there."""
        if not isinstance(image, JpegImage):
            return None
        found = probe()
        if self._jpeg_decoder is None and isinstance(found, NvImageCodec):
            self._jpeg_decoder = JpegDecoder(found, self._stream)
        return self._jpeg_decoder
