"""Messages taken into memory of a device's making, between real nodes."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from line import Line, picture
from rclpy.serialization import serialize_message
from rig import Rig
from sensor_msgs.msg import CompressedImage, Image

from avperception.bags.definitions import typestore
from avperception.nodes.conversions.images import image_from_message
from avperception.nodes.message_memory import DeviceMemory
from avperception.nodes.serialized import Rcl
from avperception.pipeline.camera import CameraPipeline, PendingResult
from avperception.pipeline.device import CpuDevice, MakeMemory
from avperception.pipeline.device.graph_memory import HostBlock
from avperception.pipeline.device.pinned import pinned_rows
from avperception.types import Image as PixelImage
from avperception.types import UInt8


class Blocks:
    """Makes ordinary memory and knows what it made that somebody holds."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._made: list[weakref.ref[UInt8]] = []

    def __call__(self, size: int) -> UInt8:
        block = np.full(size, 99, np.uint8)
        self.sizes.append(size)
        self._made.append(weakref.ref(block))
        return block

    @property
    def held(self) -> list[UInt8]:
        gc.collect()
        return [block for ref in self._made if (block := ref()) is not None]


@pytest.fixture
def blocks() -> Blocks:
    return Blocks()


@pytest.fixture
def images(line: Callable[..., Line], blocks: Blocks) -> Line:
    return line(Image, blocks)


def send(images: Line, *messages: Image) -> list[Any]:
    """What is taken of messages sent one after the other."""
    taken = []
    for message in messages:
        images.publisher.publish(message)
        images.spin(lambda: bool(images.taken))
        taken.append(images.taken.pop())
    return taken


def owner_of(data: Any, blocks: Blocks) -> UInt8:
    """The block that a message's data lie in."""
    (found,) = [block for block in blocks.held if np.shares_memory(block, data)]
    return found


def test_a_message_lies_in_memory_that_was_made_for_it_and_is_read_only(images: Line, blocks: Blocks) -> None:
    for seed, taken in enumerate(send(images, *(picture(seed) for seed in range(4)))):
        assert taken.data.tobytes() == bytes(picture(seed).data)
        assert not taken.data.flags.writeable
        assert len(owner_of(taken.data, blocks)) == len(serialize_message(picture(seed)))


def test_each_has_its_own_and_none_is_left_behind(images: Line, blocks: Blocks) -> None:
    taken = send(images, *(picture(seed) for seed in range(5)))
    assert len({owner_of(message.data, blocks).ctypes.data for message in taken}) == 5
    assert len(blocks.held) <= 6
    del taken
    assert len(blocks.held) <= 1


def test_what_was_offered_in_vain_is_kept_for_the_next(images: Line, rcl: Rcl, blocks: Blocks) -> None:
    memory = DeviceMemory(blocks)
    images.publisher.publish(picture(1))
    take(images, rcl, memory)
    for _ in range(3):
        assert rcl.take(images.subscription, memory) is None
    (spare,) = blocks.held
    made = len(blocks.sizes)
    images.publisher.publish(picture(2))
    data = take(images, rcl, memory)
    assert np.shares_memory(data, spare) and len(blocks.sizes) == made


def test_the_size_may_change_from_message_to_message(images: Line, blocks: Blocks) -> None:
    sent = [picture(seed, height, width) for seed, (height, width) in enumerate(
        [(40, 60), (400, 600), (3, 5), (1, 1), (200, 100), (200, 100), (201, 100)]
    )]  # fmt: skip
    for message, taken in zip(sent, send(images, *sent), strict=True):
        assert taken.data.tobytes() == bytes(message.data)
    gc.collect()
    assert sum(len(block) for block in blocks.held) < 200_000, "the large one is not held"


def test_of_one_size_no_more_is_made_than_there_are_messages(images: Line, blocks: Blocks) -> None:
    send(images, picture(0))
    before = len(blocks.sizes)
    send(images, *(picture(seed) for seed in range(10)))
    assert len(blocks.sizes) - before <= 11
    assert set(blocks.sizes[before:]) == {len(serialize_message(picture(0)))}


def test_a_damaged_message_costs_no_other(images: Line, rcl: Rcl, blocks: Blocks) -> None:
    whole = np.frombuffer(serialize_message(picture(1)), np.uint8)
    for size in (4, 20, 3000):
        rcl.publish(images.publisher, whole[:size].copy())
        images.spin(lambda: bool(images.bad))
        images.bad.clear()
        (taken,) = send(images, picture(2))
        assert taken.data.tobytes() == bytes(picture(2).data)
    del taken
    assert len(blocks.held) <= 1


def test_memory_that_cannot_be_made_is_told_of_and_the_next_message_comes(
    images: Line, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Blocks, "__call__", raising(MemoryError("no memory")))
        images.publisher.publish(picture(1))
        images.spin(lambda: bool(images.bad))
    assert images.bad[0].reason == "not_taken" and "\n" not in str(images.bad[0])
    (taken,) = send(images, picture(2))
    assert taken.data.tobytes() == bytes(picture(2).data)


def test_what_else_goes_wrong_in_the_making_is_raised_by_the_take(
    images: Line, rcl: Rcl, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = DeviceMemory(blocks)
    with monkeypatch.context() as patch:
        patch.setattr(Blocks, "__call__", raising(RuntimeError("of another kind")))
        images.publisher.publish(picture(1))
        with pytest.raises(RuntimeError, match="of another kind"):
            take(images, rcl, memory)
    images.publisher.publish(picture(2))
    assert take(images, rcl, memory).tobytes()[-7200:] == bytes(picture(2).data)


def raising(error: Exception) -> Callable[[Blocks, int], UInt8]:
    def make(self: Blocks, size: int) -> UInt8:
        raise error

    return make


def test_pixels_outlive_the_subscription(images: Line, blocks: Blocks) -> None:
    (taken,) = send(images, picture(7))
    images.close()
    pixels = taken.data.reshape(40, -1)[10:20]
    del taken
    gc.collect()
    assert pixels.tobytes() == bytes(picture(7).data)[10 * 180 : 20 * 180]
    del pixels
    assert not blocks.held


def take(images: Line, rcl: Rcl, memory: DeviceMemory) -> UInt8:
    """The next message, by hand."""
    end_s = time.monotonic() + 20.0
    while time.monotonic() < end_s:
        if (data := rcl.take(images.subscription, memory)) is not None:
            return data
        time.sleep(0.01)
    pytest.fail("no message came")


class OrdinaryPool:
    """A pool as `HostBlock` asks it, of memory that is not pinned."""

    def malloc(self, size: int) -> Any:
        memory = np.zeros(size, np.uint8)
        return SimpleNamespace(ptr=memory.ctypes.data, memory=memory)


def test_the_pixels_of_an_image_are_found_where_the_message_lies(rcl: Rcl, images: Line) -> None:
    memory = DeviceMemory(lambda size: np.asarray(HostBlock(OrdinaryPool(), size)))
    for seed in range(2):
        images.publisher.publish(picture(seed + 1))
        data = take(images, rcl, memory)
        message = typestore().deserialize_cdr(data.data, "sensor_msgs/msg/Image")
        image = image_from_message(message)
        found = pinned_rows(image)
        assert found is not None
        offset = found.address - data.ctypes.data
        assert data[offset : offset + 40 * 180].tobytes() == bytes(picture(seed + 1).data)
        assert found.step == 180


def test_only_what_is_read_only_and_in_such_memory_is_found() -> None:
    block = np.asarray(HostBlock(OrdinaryPool(), 7200))
    pixels = block.reshape(40, 60, 3)
    image = PixelImage(pixels, "rgb8", 60, 40, 1, "front")
    assert pinned_rows(image) is None, "it may be written to"
    pixels.flags.writeable = False
    assert pinned_rows(image) == (block.ctypes.data, 180)
    ordinary = pixels.copy()
    ordinary.flags.writeable = False
    assert pinned_rows(replace(image, data=ordinary)) is None
    for turned in (pixels[::-1], pixels[:, ::-1], pixels[..., ::-1]):
        assert pinned_rows(replace(image, data=turned)) is None
    grey = PixelImage(pixels[..., 0], "mono8", 60, 40, 1, "front")
    assert pinned_rows(grey) is None, "one channel of three"


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[PixelImage]:
    """The images that the cameras of a node begin with, on a device that reads them where they lie."""
    images: list[PixelImage] = []
    submit = CameraPipeline.submit

    def note(self: CameraPipeline, image: PixelImage, *arguments: Any, **further: Any) -> PendingResult:
        images.append(image)
        return submit(self, image, *arguments, **further)

    def make_image_memory(self: CpuDevice) -> MakeMemory:
        return lambda size: np.asarray(HostBlock(OrdinaryPool(), size))

    monkeypatch.setattr(CameraPipeline, "submit", note)
    monkeypatch.setattr(CpuDevice, "make_image_memory", make_image_memory)
    return images


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_a_node_begins_with_raw_images_where_rcl_put_them(
    submitted: list[PixelImage], transport: str
) -> None:
    with Rig({"cameras": ["front"], "front.transport": transport}) as rig:
        rig.start()
        topic = "/perception/input/front/image_raw"
        is_raw = transport == "raw"
        publisher = (
            rig.publisher(Image, topic) if is_raw else rig.publisher(CompressedImage, f"{topic}/compressed")
        )
        rig.spin_until(lambda: publisher.get_subscription_count() > 0)
        message = picture(3)
        if not is_raw:
            pixels = np.frombuffer(message.data, np.uint8).reshape(40, 60, 3)
            file = cv2.imencode(".jpg", pixels)[1].tobytes()
            message = CompressedImage(header=message.header, format="jpeg", data=file)
        publisher.publish(message)
        rig.spin_until(lambda: submitted)
    (image,) = submitted
    assert (pinned_rows(image) is not None) == is_raw
    if is_raw:
        assert image.data.tobytes() == bytes(message.data)
