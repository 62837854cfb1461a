"""The CUDA graph of one image layout and every buffer that it touches."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avperception.ops.jpeg import JpegImage
from avperception.pipeline.device.cuda_frame import Branches, CudaFrame
from avperception.pipeline.device.cuda_jpeg import JpegDecoder, JpegTarget
from avperception.pipeline.device.device import Work
from avperception.pipeline.device.graph_memory import GraphMemory, Inbox
from avperception.pipeline.device.host_results import HostResults
from avperception.pipeline.device.pinned import PinnedRows
from avperception.pipeline.device.stored import stored_bytes, stored_shape
from avperception.types import Array, Image, without_pixels

HEADER_BYTES = 256
"""In front of the pixels: where on the host each result of this frame goes, as addresses of 8 bytes.

A graph's own addresses are fixed, while the host may hold on to the images and results of many frames.
"""

SOURCE = slice(HEADER_BYTES // 8 - 2, HEADER_BYTES // 8)
"""Where in the header an image that is read in place is told of, as in `PinnedRows`."""

MOST_RESULTS = SOURCE.start

END = MOST_RESULTS
"""Where among the flags of arrival the end of the frame is told of."""

WORTH_LEAVING_OUT = 0.9
"""The part of an image's rows up to which the others are left out; a copy row by row is a little slower."""

ENQUEUED_WITHIN_MS = 15.0
"""Within this the host puts a frame on the streams stage by stage; the GPU waits, not to time Python."""


class FrameGraph:
    """Upload, work and delivery of frames of one layout, captured once and launched for each.

    With a `decoder` the images are JPEGs, decoded into GPU memory in front of each launch: what is uploaded
    is the header alone. With `in_place` the GPU reads images in pinned memory where they lie.
    """

    def __init__(
        self,
        cupy: Any,
        ops: ModuleType,
        work: Work,
        image: Image,
        stream: Any,
        decoder: JpegDecoder | None = None,
        *,
        in_place: bool = False,
    ) -> None:
        self._cupy = cupy
        self._ops = ops
        self._work = work
        self.stream = stream
        self._branches = Branches(cupy)
        self._graph: Any = None
        self._frame: CudaFrame | None = None
        self.memory = GraphMemory(cupy, stream)
        self._inbox: Inbox | None = None
        self._arrivals: Inbox | None = None
        self._decoder = decoder
        self._in_place = in_place
        self._template = without_pixels(image) if decoder is None else decoder.form(image)
        self._shape = stored_shape(self._template)
        self._rows: NDArray[np.int64] | None = None
        self._places: Array = None
        self._image: Array = None
        self._rows_on_gpu: Array = None
        self._target: JpegTarget | None = None
        self._results: HostResults | None = None
        self._next_results: tuple[NDArray[np.uint64], dict[str, NDArray[Any]]] | None = None
        self._host_ms: dict[str, float] = {}
        self._again: dict[str, NDArray[Any]] = {}
        self._mapped = False

    def __del__(self) -> None:
        self._graph = self._frame = self._inbox = self._arrivals = None
        self._image = self._places = self._rows_on_gpu = None
        self.memory.free()

    def prepare(self, *, capture: bool, mapped: bool, pinned: PinnedRows | None = None) -> None:
        """Run the work once by itself, so that all is loaded and what it reads is known, then capture it.

        For a graph that reads `in_place` an image is needed for that, `pinned`.
        """
        self._mapped = mapped
        self._cupy.cuda.Device().synchronize()  # what was set up on other streams is there
        with self.memory.working():
            self._arrivals = self.memory.inbox(MOST_RESULTS + 1, mapped=True)
            self._allocate(np.arange(self._shape[0]))
            if pinned:
                self._addresses[SOURCE] = pinned
            self._enqueue(deliver=False, timed=False)
            self.stream.synchronize()
            if self._decoder is None:
                self._leave_out_rows()
            if capture:
                self._graph = self.memory.capture(partial(self._enqueue, deliver=True, timed=False))

    def launch(self, image: Image, pinned: PinnedRows | None = None) -> dict[str, NDArray[Any]]:
        """Put one frame on the stream; gives the host arrays that will hold its results.

        An image that is not copied, a JPEG or one that is `pinned`, must be held until they are there.
        """
        if pinned:
            self._addresses[SOURCE] = pinned
            self._host_ms = {}
        else:
            self.copy(image)
        results = self._take_host_arrays()
        assert self._arrivals is not None
        self._arrivals.host[:] = 0
        if self._graph is not None:
            start_ns = time.perf_counter_ns()
            self._graph.launch(self.stream)
            self._host_ms["launch"] = _ms_since(start_ns)
        else:
            with self.memory.working():
                self._enqueue(deliver=True, timed=True)
        # While the GPU is busy; where there is no memory for it the next launch will say so.
        with suppress(MemoryError, self._cupy.cuda.runtime.CUDARuntimeError):
            self._next_results = self._make_host_arrays()
        return results

    def copy(self, image: Image) -> None:
        """Copy an image into the pinned memory that is uploaded next, or put its decoding on the stream.

        Raises MessageError `undecodable`.
        """
        nvtx, start_ns = self._cupy.cuda.nvtx, time.perf_counter_ns()
        nvtx.RangePush("copy to pinned memory" if self._target is None else "decode")
        try:
            stage = self._target.put(image) if self._target else self._copy_rows(image)
        finally:
            nvtx.RangePop()
        self._host_ms = {stage: _ms_since(start_ns)}

    def relaunch(self) -> None:
        """Put the last image's frame on the stream once more, its results into memory kept for that.

        An image that was not copied must still be held.
        """
        if not self._again:
            self._again = self._take_host_arrays()
        self._graph.launch(self.stream)

    @property
    def early_results(self) -> tuple[str, ...]:
        """The results that come before others of their frame."""
        if self._frame is None or len(self._frame.results) == 1:
            return ()
        return tuple(self._frame.early)

    def has_arrived(self, name: str) -> bool:
        """Whether an early result of the frame launched last is in the host's memory."""
        assert self._frame is not None and self._arrivals is not None
        return bool(self._arrivals.host[self._frame.early[name]])

    def has_ended(self) -> bool:
        """Whether all of the frame launched last is done."""
        assert self._arrivals is not None
        return bool(self._arrivals.host[END])

    @property
    def upload_bytes(self) -> int:
        """What a frame brings to the GPU."""
        assert self._inbox is not None
        if self._in_place:
            return HEADER_BYTES + int(self._image.nbytes)
        return HEADER_BYTES if self._mapped else len(self._inbox.host)

    @property
    def result_bytes(self) -> int:
        """What a frame brings back."""
        return sum(array.nbytes for array in self._frame.results.values()) if self._frame else 0

    def stage_ms(self) -> dict[str, float]:
        """Milliseconds: the host's to copy or decode and to launch the graph, and the GPU's without one."""
        on_gpu = self._frame.stage_ms() if self._frame and self._graph is None else {}
        return {**self._host_ms, **on_gpu}

    def _enqueue(self, *, deliver: bool, timed: bool) -> None:
        """Put upload, work and, if wanted, the way back on the stream."""
        assert self._inbox is not None
        self._branches.restart()
        header = self._inbox.device[:HEADER_BYTES].view(np.uint64)
        image = replace(self._template, data=self._image)
        if self._places is not None:
            image = self._ops.PartialImage(**{**vars(image), "places": self._places})
        addresses = header if deliver else None
        arrivals = self._arrivals.device if self._arrivals else None
        frame = CudaFrame(self._cupy, self._ops, image, self._branches, addresses, arrivals, timed)
        if timed:
            self._ops.hold(ENQUEUED_WITHIN_MS)
        with frame.stage("upload"):
            self._inbox.upload(self.stream)
            if self._in_place:
                self._ops.fetch_rows(header[SOURCE], self._rows_on_gpu, self._image)
        self._work(frame)
        if deliver:
            self._ops.announce(arrivals, END)
        self._frame = frame

    def _allocate(self, rows: NDArray[np.int64]) -> None:
        """Memory on both sides for the addresses of the results and these rows of the image."""
        row_bytes = self._shape[1]
        is_uploaded = self._decoder is None and not self._in_place
        size = HEADER_BYTES + (len(rows) * row_bytes if is_uploaded else 0)
        # The header alone is read where it lies: its upload would take longer than a look at it.
        self._inbox = self.memory.inbox(size, mapped=self._mapped or self._in_place)
        self._addresses = self._inbox.host[:HEADER_BYTES].view(np.uint64)
        self._pixels = self._inbox.host[HEADER_BYTES:].reshape(-1, row_bytes)
        if is_uploaded:
            self._image = self._inbox.device[HEADER_BYTES:].reshape(self._pixels.shape)
        else:
            self._image = self._cupy.zeros((len(rows), row_bytes), np.uint8)
        if self._in_place:
            self._rows_on_gpu = self._cupy.asarray(rows, dtype=np.int32)
        if self._decoder is not None:
            self._target = self._decoder.target(self._image, self._template)

    def _leave_out_rows(self) -> None:
        """Bring only those rows to the GPU from now on that the work has read, if that is worth it."""
        height = self._shape[0]
        rows = self._frame.rows_read if self._frame else None
        if rows is None or len(rows) > WORTH_LEAVING_OUT * height:
            return
        self._rows = rows
        places = np.clip(np.searchsorted(rows, np.arange(height)), 0, len(rows) - 1)
        self._places = self._cupy.asarray(places, dtype=np.int32)
        self._allocate(rows)

    def _copy_rows(self, image: Image) -> str:
        rows = stored_bytes(image, self._shape)
        if self._rows is None:
            np.copyto(self._pixels, rows)
        else:
            np.take(rows, self._rows, axis=0, out=self._pixels, mode="clip")
        return "decode_on_host" if isinstance(image, JpegImage) else "copy"

    def _take_host_arrays(self) -> dict[str, NDArray[Any]]:
        """Memory for the results of the next launch, their addresses noted for the GPU."""
        addresses, arrays = self._next_results or self._make_host_arrays()
        self._next_results = None
        self._addresses[: len(addresses)] = addresses
        return arrays

    def _make_host_arrays(self) -> tuple[NDArray[np.uint64], dict[str, NDArray[Any]]]:
        if self._results is None:
            assert self._frame is not None
            self._results = HostResults(self.memory.pinned_pool, self._frame.results)
        return self._results.make()


def _ms_since(start_ns: int) -> float:
    return (time.perf_counter_ns() - start_ns) / 1e6
