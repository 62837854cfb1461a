"""What is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from avperception.errors import ConfigurationError
from avperception.ops.encodings import PIXEL_FORMATS
from avperception.pipeline.device import Device, MakeMemory
from avperception.pipeline.network import Network
from avperception.types import Image

FRAMES = 500
WARM_UP = 50
MESSAGE_HEADER_BYTES = 60
"""What a serialized `sensor_msgs/Image` has in front of its pixels: their rows begin at no round address."""

SOURCES = 8
"""Different images that take turns: one alone would stay in the cache."""


@dataclass(frozen=True)
class BenchmarkOptions:
    """`width` and `height` in pixels; `cameras` and `points` are the counts to go through."""

    width: int = 1920
    height: int = 1080
    encoding: str = "rgb8"
    cameras: tuple[int, ...] = (1, 2, 4, 8)
    points: tuple[int, ...] = (10_000, 120_000, 1_000_000)
    frames: int = FRAMES
    warm_up: int = WARM_UP

    def __post_init__(self) -> None:
        if self.encoding not in PIXEL_FORMATS:
            raise ConfigurationError(f"--encoding {self.encoding}: known are {', '.join(PIXEL_FORMATS)}")
        is_odd = PIXEL_FORMATS[self.encoding].even_width and (self.width % 2 or self.height % 2)
        if min(self.width, self.height) < 16 or is_odd:
            raise ConfigurationError(
                f"--size {self.width}x{self.height} is no size of a {self.encoding} image: give an even "
                "one of at least 16 pixels"
            )

    def as_dict(self) -> dict[str, Any]:
        """The options as a record has them."""
        return {
            "size": f"{self.width}x{self.height}",
            "encoding": self.encoding,
            "cameras": list(self.cameras),
            "points": list(self.points),
            "frames": self.frames,
            "warm_up": self.warm_up,
        }


@dataclass(frozen=True)
class Subject:
    """The networks that are measured, by role, and the images they are given."""

    networks: Mapping[str, Network]
    images: tuple[Image, ...] = field(repr=False)
    options: BenchmarkOptions = field(default_factory=BenchmarkOptions)

    def image(self, number: int) -> Image:
        """The image of a frame: they take turns."""
        return self.images[number % len(self.images)]

    def received_by(self, device: Device) -> Subject:
        """The same with the images in the memory that the node of this device receives them in."""
        make_memory = device.make_image_memory()
        if make_memory is None:
            return self
        return replace(self, images=tuple(_received(image, make_memory) for image in self.images))

    @property
    def detector(self) -> Network | None:
        return self.networks.get("detector")

    @property
    def segmenter(self) -> Network | None:
        return self.networks.get("segmenter")


def _received(image: Image, make_memory: MakeMemory) -> Image:
    memory = make_memory(MESSAGE_HEADER_BYTES + image.data.nbytes)[MESSAGE_HEADER_BYTES:]
    data = memory.view(image.data.dtype).reshape(image.data.shape)
    np.copyto(data, image.data)
    data.flags.writeable = False
    return replace(image, data=data)


def street_images(options: BenchmarkOptions) -> tuple[Image, ...]:
    """Random images with a picture's smoothness: noise is as hard on caches but on no network."""
    import cv2

    pixel_format = PIXEL_FORMATS[options.encoding]
    rng = np.random.default_rng(7)
    rows, columns = pixel_format.stored_rows(options.height), options.width
    images = []
    for number in range(SOURCES):
        small = rng.integers(0, 256, (rows // 8 + 1, columns // 8 + 1, pixel_format.channels), np.uint8)
        data = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_CUBIC)
        shape = (rows, columns) if pixel_format.channels == 1 else (rows, columns, pixel_format.channels)
        typed = data.reshape(shape).astype(pixel_format.dtype) << 8 * (pixel_format.dtype.itemsize - 1)
        images.append(Image(typed, options.encoding, options.width, options.height, number, "camera"))
    return tuple(images)
