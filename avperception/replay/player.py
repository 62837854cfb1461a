"""Plays a recording into the node, and sorts what comes back into frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from avperception.bags import BagMessage, BagReader
from avperception.errors import MessageError
from avperception.replay.plan import ReplayPlan
from avperception.types import CameraResult, FusedResult, Image

if TYPE_CHECKING:
    from avperception.replay.driver import Recorded, ReplayDriver, Results

AFTERMATH_NS = 60_000_000_000
"""Simulated time that passes after the last message, so that nothing waits any more."""


@dataclass(frozen=True)
class Frame:
    """One result: a sweep with the images fused with it, or one image where there is no lidar."""

    number: int
    stamp_ns: int
    images: list[tuple[CameraResult, Image]]
    fused: FusedResult | None


@dataclass(frozen=True)
class Step:
    """What one message of the recording led to; `stamp_ns` is its log time."""

    stamp_ns: int
    cameras: list[CameraResult]
    frames: list[Frame]
    recorded: list[Recorded]


class Player:
    """Sends a recording's messages one by one and gives what each led to.

    Messages whose bytes do not fit their type are not sent but counted in `unreadable` by reason.
    """

    def __init__(self, bag: BagReader, plan: ReplayPlan, driver: ReplayDriver) -> None:
        self._bag = bag
        self._plan = plan
        self._driver = driver
        self._images: dict[tuple[str, int], tuple[CameraResult, Image]] = {}
        self.unreadable: Counter[str] = Counter()
        self.frames_in = 0
        self.frames_out = 0

    @property
    def frame_count(self) -> int:
        """Frames that the recording holds."""
        return sum(t.message_count for t in self._bag.topics if t.name in self._plan.frame_topics)

    def steps(self) -> Iterator[Step]:
        """Play everything; the last step holds what was still waiting at the end."""
        end_ns = 0
        for message in self._bag.messages(self._plan.topics):
            if message.topic in self._plan.frame_topics:
                self.frames_in += 1
            if self.content(message) is None:
                continue
            self._driver.play(message)
            yield self._step(message.stamp_ns)
            end_ns = message.stamp_ns
        self._driver.advance(end_ns + AFTERMATH_NS)
        yield self._step(end_ns)

    def content(self, message: BagMessage) -> Any:
        """Deserialize a message; None, and counted, if that cannot be done."""
        try:
            return self._bag.deserialize(message)
        except MessageError as error:
            self.unreadable[error.reason] += 1
            return None

    def _step(self, stamp_ns: int) -> Step:
        results = self._driver.settle()
        cameras = [result for result, _ in results.cameras]
        return Step(stamp_ns, cameras, self._frames(results), results.recorded)

    def _frames(self, results: Results) -> list[Frame]:
        if self._plan.points is None:
            return [
                self._frame(result.stamp_ns, [(result, image)], None) for result, image in results.cameras
            ]
        for result, image in results.cameras:
            self._images.pop((result.camera, result.stamp_ns), None)  # of the lap before
            self._images[result.camera, result.stamp_ns] = (result, image)
        frames = []
        for fused in results.fused:
            keys = [(seen.camera, seen.stamp_ns) for seen in fused.cameras]
            pairs = [self._images[key] for key in keys if key in self._images]
            frames.append(self._frame(fused.stamp_ns, pairs, fused))
        while len(self._images) > 8 * max(1, len(self._plan.cameras)):
            self._images.pop(next(iter(self._images)))
        return frames

    def _frame(
        self, stamp_ns: int, images: list[tuple[CameraResult, Image]], fused: FusedResult | None
    ) -> Frame:
        self.frames_out += 1
        return Frame(self.frames_out - 1, stamp_ns, images, fused)
