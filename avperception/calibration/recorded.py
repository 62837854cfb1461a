"""The images of a recording, without ROS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

from avperception.errors import BagError, ConfigurationError, MessageError
from avperception.ops.encodings import PIXEL_FORMATS
from avperception.types import Image

RAW = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
NANOSECONDS = 1_000_000_000


class Message(Protocol):
    """One recorded message."""

    @property
    def topic(self) -> str: ...

    @property
    def msgtype(self) -> str: ...


class Topic(Protocol):
    """One recorded topic."""

    @property
    def name(self) -> str: ...

    @property
    def msgtype(self) -> str: ...

    @property
    def message_count(self) -> int: ...


class Recording(Protocol):
    """What is asked of an open recording; `avperception.bags.BagReader` is one."""

    path: Path

    @property
    def topics(self) -> Sequence[Topic]: ...

    def messages(self, topics: Collection[str] | None = None) -> Iterator[Any]: ...

    def deserialize(self, message: Any) -> Any: ...


class RecordedImage(NamedTuple):
    """An image, the topic it was on, and its number among the messages of the chosen topics."""

    number: int
    topic: str
    image: Image


class ImageTopics(NamedTuple):
    """Topics to take images from, with their numbers of messages, and those that are left out."""

    counts: dict[str, int]
    left_out: tuple[str, ...]


def image_topics(recording: Recording, wanted: Sequence[str] = ()) -> ImageTopics:
    """The image topics of a recording: those `wanted`, else those of cameras, else all.

    A camera's has a CameraInfo beside it, as drivers publish it: masks, overlays and other pictures that
    no network is to see have none. Raises BagError if there is no image topic, ConfigurationError for a
    wanted one that is not there.
    """
    found = {t.name: t for t in recording.topics if t.msgtype in (RAW, COMPRESSED)}
    if not found:
        raise BagError(f"{recording.path} holds no topic of sensor_msgs/Image or CompressedImage")
    for name in wanted:
        if name not in found:
            raise ConfigurationError(
                f"{recording.path} has no image topic {name}: it has {', '.join(sorted(found))}"
            )
    cameras = {_parent(topic.name) for topic in recording.topics if topic.msgtype == CAMERA_INFO}
    of_cameras = [name for name, topic in found.items() if _camera(topic) in cameras]
    chosen = sorted(wanted or of_cameras or found)
    left_out = () if wanted else tuple(sorted(set(found) - set(chosen)))
    return ImageTopics({name: found[name].message_count for name in chosen}, left_out)


def _camera(topic: Topic) -> str:
    """The namespace of an image topic's camera; image_transport adds a level to what is compressed."""
    return _parent(_parent(topic.name) if topic.msgtype == COMPRESSED else topic.name)


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def recorded_images(
    recording: Recording,
    topics: Collection[str],
    skipped: Counter[str],
    only: Collection[int] | None = None,
) -> Iterator[RecordedImage]:
    """The images of these topics in the order of their log times, as views into their messages.

    With `only`, those of these numbers are decoded and no others. What cannot be used is left out and
    counted in `skipped` by reason.
    """
    for number, message in enumerate(recording.messages(topics)):
        if only is not None and number not in only:
            continue
        try:
            image = _image(recording.deserialize(message), message.msgtype)
        except MessageError as error:
            skipped[error.reason] += 1
        else:
            yield RecordedImage(number, message.topic, image)


def _image(message: Any, msgtype: str) -> Image:
    stamp_ns = message.header.stamp.sec * NANOSECONDS + message.header.stamp.nanosec
    if msgtype == COMPRESSED:
        return _decoded(message, stamp_ns)
    return _viewed(message, stamp_ns)


def _decoded(message: Any, stamp_ns: int) -> Image:
    pixels = None
    if len(message.data):
        try:
            pixels = cv2.imdecode(np.asarray(message.data, dtype=np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            pixels = None
    if pixels is None:
        raise MessageError("undecodable", f"format {message.format!r} is no JPEG or PNG that can be read")
    return Image(pixels, "bgr8", pixels.shape[1], pixels.shape[0], stamp_ns, message.header.frame_id)


def _viewed(message: Any, stamp_ns: int) -> Image:
    pixel_format = PIXEL_FORMATS.get(message.encoding)
    if pixel_format is None:
        raise MessageError("unknown_encoding", f"encoding {message.encoding!r} is not known")
    height, width, step = int(message.height), int(message.width), int(message.step)
    rows = pixel_format.stored_rows(height)
    row_bytes = width * pixel_format.bytes_per_column
    odd = (pixel_format.even_width and width % 2) or (pixel_format.rows_per_line != 1.0 and height % 2)
    if height < 1 or width < 1 or odd:
        raise MessageError("odd_size", f"{message.encoding} of {width}x{height} pixels")
    if step < row_bytes or step % pixel_format.dtype.itemsize or len(message.data) != step * rows:
        raise MessageError("wrong_data_size", f"{len(message.data)} bytes for {rows} rows of {step}")
    if message.is_bigendian and pixel_format.dtype.itemsize > 1:
        raise MessageError("big_endian", f"{message.encoding} in big-endian byte order is not read")
    flat = np.frombuffer(message.data, dtype=pixel_format.dtype)
    data = flat.reshape(rows, -1)[:, : width * pixel_format.channels]
    if pixel_format.channels > 1:
        data = data.reshape(rows, width, pixel_format.channels)
    return Image(data, message.encoding, width, height, stamp_ns, message.header.frame_id)
