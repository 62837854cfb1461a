"""Images that lie in pinned memory, uploaded from where they lie; no copy of the host's is needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from avperception.ops.jpeg import JpegImage
from avperception.pipeline.device.cuda_errors import import_cupy
from avperception.pipeline.device.host_results import HostBlock
from avperception.pipeline.device.stored import address_of, stored_bytes, stored_shape
from avperception.types import Array, Image, UInt8, without_pixels

_PINNED = 1
"""cudaMemoryTypeHost of cudaPointerAttributes."""


class PinnedMemory:
    """Makes pinned memory for messages; what nobody holds any more is used again for others of its size."""

    def __init__(self) -> None:
        self._cupy = import_cupy()
        self._pool: Any = None
        self._size = 0

    def __call__(self, size: int) -> UInt8:
        """Give so many bytes (size,), pinned unless there is no more of it; then they are ordinary."""
        if size != self._size:
            # The old pool goes with its last block: messages of ever new sizes must not pile up in memory.
            self._pool, self._size = self._cupy.cuda.PinnedMemoryPool(), size
        try:
            return np.asarray(HostBlock(self._pool, size))
        except (MemoryError, self._cupy.cuda.runtime.CUDARuntimeError):
            return np.empty(size, np.uint8)


def is_uploadable(cupy: Any, image: Image) -> bool:
    """Whether an image can be uploaded from where it lies: in pinned memory, and it will not be overwritten.

    Its array must be read-only: what may be written to may change while it is uploaded.
    """
    if isinstance(image, JpegImage) or image.data.flags.writeable:
        return False
    rows = stored_bytes(image, stored_shape(image))
    if rows.strides[1] != 1 or rows.strides[0] < rows.shape[1]:
        return False
    first = address_of(rows)
    last = first + (rows.shape[0] - 1) * rows.strides[0] + rows.shape[1] - 1
    attributes = cupy.cuda.runtime.pointerGetAttributes
    return attributes(first).type == _PINNED and attributes(last).type == _PINNED


class PinnedLoader:
    """Brings images in pinned memory to the GPU on one stream."""

    def __init__(self, cupy: Any, stream: Any) -> None:
        self._runtime = cupy.cuda.runtime
        self._stream = stream

    def form(self, image: Image) -> Image:
        """Give what an image is on the GPU: the same; its `data` is empty."""
        return without_pixels(image)

    def target(self, pixels: Array, form: Image) -> UploadTarget:
        """Upload images of this form into an array of bytes in GPU memory (rows, bytes of a row)."""
        return UploadTarget(self._runtime, pixels, self._stream)


class UploadTarget:
    """Memory of the GPU to upload into."""

    def __init__(self, runtime: Any, pixels: Array, stream: Any) -> None:
        self._runtime = runtime
        self._stream = stream
        self._address = int(pixels.data.ptr)
        self._shape: tuple[int, int] = pixels.shape

    def put(self, image: Image) -> str:
        """Put the upload of an image on the stream, which needs it until then; gives the step's name."""
        rows, (height, width) = stored_bytes(image, self._shape), self._shape
        source, step = address_of(rows), rows.strides[0]
        to_device, stream = self._runtime.memcpyHostToDevice, self._stream.ptr
        if step == width:
            self._runtime.memcpyAsync(self._address, source, height * width, to_device, stream)
        else:
            self._runtime.memcpy2DAsync(self._address, width, source, step, width, height, to_device, stream)
        return "begin_upload"
