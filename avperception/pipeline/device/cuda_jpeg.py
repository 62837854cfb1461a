"""JPEG images decoded by nvImageCodec straight into GPU memory."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import cv2
import numpy as np

from avperception.errors import EngineError
from avperception.ops.encodings import PIXEL_FORMATS
from avperception.ops.jpeg import JpegImage, read_header
from avperception.pipeline.device.cuda_errors import import_cupy
from avperception.types import Array, Image, without_pixels

OLDEST = (0, 7)
"""Before this version it decoded into memory of its own only."""

HOW_TO_INSTALL = "`avperception doctor` tells how to install it"

_MODULE = "nvidia.nvimgcodec"
_VERBOSITY = "PYNVIMGCODEC_VERBOSITY"
_OPTIONS = ":fancy_upsampling=1 nvjpeg_cuda_decoder:hybrid_huffman_threshold=0"
"""Chroma between its samples is interpolated, as OpenCV does it; Huffman codes are read on the GPU.

The CPU took 1.6 times as long for an image of 960x540, 2.7 times for one of 1920x1080 (H200).
"""


@dataclass(frozen=True)
class NvImageCodec:
    """nvImageCodec on this machine: its Python module and its version."""

    module: Any
    version: str

    def __str__(self) -> str:
        return f"nvImageCodec {self.version}"


@cache
def probe() -> NvImageCodec | str:
    """Load nvImageCodec and decode an image with it; where that cannot be, give the reason in a few words."""
    try:
        module = _load()
    except ModuleNotFoundError:
        return "not installed"
    except (ImportError, OSError, RuntimeError) as error:
        return f"cannot be loaded ({' '.join(str(error).split())})"
    found = NvImageCodec(module, str(module.__version__))
    if tuple(int(part) for part in found.version.split(".")[:2]) < OLDEST:
        return f"version {found.version} is older than {'.'.join(map(str, OLDEST))}"
    try:
        works = _decodes(found)
    except (RuntimeError, ValueError, EngineError) as error:
        return f"version {found.version} fails ({' '.join(str(error).split())})"
    return found if works else f"version {found.version} finds no nvJPEG to decode with"


def _load() -> Any:
    # Without a word on the codecs of other formats, and on each damaged image: those are counted.
    os.environ.setdefault(_VERBOSITY, "0")
    with _quiet():
        return importlib.import_module(_MODULE)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what a library writes straight to the standard error from being seen."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def _decodes(codec: NvImageCodec) -> bool:
    cupy = import_cupy()
    _, file = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))
    header = read_header(file)
    assert header is not None
    stream = cupy.cuda.Stream(non_blocking=True)
    image = JpegImage(file, header, 1, "")
    target = JpegDecoder(codec, stream).target(cupy.empty((16, 48), np.uint8), image)
    works = target.decode(image)
    stream.synchronize()
    return works


class JpegDecoder:
    """Decodes on one stream, for one thread at a time, in buffers that it keeps."""

    def __init__(self, codec: NvImageCodec, stream: Any) -> None:
        self.module = module = codec.module
        self.stream = stream
        # The JPEG engine of the GPU where it has one, then its cores; what both refuse is OpenCV's.
        kinds = (module.HW_GPU_ONLY, module.GPU_ONLY, module.HYBRID_CPU_GPU)
        backends = [module.Backend(kind) for kind in kinds]
        self.decoder = module.Decoder(max_num_cpu_threads=1, backends=backends, options=_OPTIONS)

    def form(self, image: Image) -> Image:
        """Give what a JPEG image is on the GPU: of the same size, `rgb8` or `mono8`; its `data` is empty."""
        empty = without_pixels(image)
        return empty if empty.encoding == "mono8" else replace(empty, encoding="rgb8")

    def target(self, pixels: Array, form: Image) -> JpegTarget:
        """Decode images of this form into an array of bytes in GPU memory (height, bytes of a row)."""
        return JpegTarget(self, pixels, form)


class JpegTarget:
    """Memory of the GPU to decode into."""

    def __init__(self, decoder: JpegDecoder, pixels: Array, form: Image) -> None:
        module, stream = decoder.module, decoder.stream
        self._decoder = decoder
        self._pixels = pixels
        self._decoding: JpegImage | None = None
        channels = PIXEL_FORMATS[form.encoding].channels
        with stream:
            view = pixels.reshape(form.height, form.width, channels)
            self._image = module.as_image(view, stream.ptr)
        self._params = module.DecodeParams(
            apply_exif_orientation=False, color_spec=module.GRAY if channels == 1 else module.SRGB
        )

    def put(self, image: Image) -> str:
        """Put the decoding of an image on the stream, by OpenCV if it must be; gives the step's name.

        Raises MessageError `undecodable`.
        """
        if isinstance(image, JpegImage) and self.decode(image):
            return "decode"
        pixels = image.data
        if pixels.ndim == 3:
            pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        self._pixels.set(pixels.reshape(self._pixels.shape), stream=self._decoder.stream)
        return "decode_on_host"

    def decode(self, image: JpegImage) -> bool:
        """Put the decoding of an image on the stream; false where nvImageCodec cannot.

        Python's lock is not held meanwhile.
        """
        decoder = self._decoder
        self._decoding = image  # whose bytes may be read for as long as the stream has not come to its end
        try:
            decoded = decoder.decoder.decode(
                decoder.module.CodeStream(image.file),
                image=self._image,
                params=self._params,
                cuda_stream=decoder.stream.ptr,
            )
        except (RuntimeError, ValueError):
            return False
        return decoded is not None
