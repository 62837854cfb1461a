"""Images for the tests: frames of a recording of the synthetic road, and changes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from builders import bgr_image
from numpy.typing import NDArray

from avperception.bags import BagReader
from avperception.evaluation.boxes_2d import TrueBoxes2D
from avperception.evaluation.truth import true_boxes_2d
from avperception.scenes import Rig, Scene, default_rig, write_recording
from avperception.types import Image

CAMERAS = ("front", "left", "right")
SECONDS, RATE = 16, 2.0


@dataclass(frozen=True)
class SceneFrame:
    """An image of one camera and what is truly in it."""

    image: Image
    truth: TrueBoxes2D

    @property
    def pixels(self) -> NDArray[np.uint8]:
        return self.image.data


def recorded_frames(path: Path) -> list[SceneFrame]:
    """Record a scene of all conditions and read it again."""
    rig = Rig(default_rig().cameras, None)
    scene = Scene(3, "mixed", "curved", duration=SECONDS, rate=RATE, rig=rig)
    write_recording(scene, path, processes=1)
    topics = {f"/{camera}/image_raw" for camera in CAMERAS}
    topics |= {f"/{camera}/ground_truth/detections_2d" for camera in CAMERAS}
    images: dict[tuple[str, int], Image] = {}
    truths: dict[tuple[str, int], TrueBoxes2D] = {}
    with BagReader(path) as bag:
        for recorded in bag.messages(topics):
            message = bag.deserialize(recorded)
            key = recorded.topic.split("/")[1], recorded.stamp_ns
            if recorded.topic.endswith("image_raw"):
                pixels = message.data.reshape(message.height, message.width, 3)
                images[key] = bgr_image(pixels, recorded.stamp_ns)
            else:
                truths[key] = true_boxes_2d(message)
    return [SceneFrame(images[key], truths[key]) for key in sorted(images)]


def resized(image: Image, width: int, height: int) -> Image:
    """A bgr8 image in another size."""
    return bgr_image(cv2.resize(image.data, (width, height)), image.stamp_ns)


def shifted(images: Sequence[Image], count: int) -> list[Image]:
    """As many different images, each one of the given ones with its columns turned on by some."""
    return [
        bgr_image(np.ascontiguousarray(np.roll(images[i % len(images)].data, 8 * i, axis=1)), i)
        for i in range(count)
    ]


def received(image: Image, offset: int = 60, padding: int = 0) -> Image:
    """The image as a message brings it: at any place of its memory, its rows apart by any padding."""
    from avperception.pipeline.device.pinned import PinnedMemory

    rows, itemsize = len(image.data), image.data.dtype.itemsize
    step = image.data[0].nbytes + padding
    memory = PinnedMemory()(offset + rows * step)
    typed = memory[offset:].view(image.data.dtype).reshape(rows, step // itemsize)
    data = typed[:, : image.data[0].size].reshape(image.data.shape)
    data[...] = image.data
    data.flags.writeable = False
    return replace(image, data=data)
