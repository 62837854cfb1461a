"""Watches a replay: collects the animation and a caption for each frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from avperception.bags import BagReader
from avperception.drawing.animation import BirdsEyeAnimation
from avperception.drawing.birds_eye import TrueBox
from avperception.replay.plan import plan_replay
from avperception.replay.player import Frame
from avperception.replay.replay import ViewFinder

MAX_PICTURES = 100


class Film:
    """An observer of `replay`: draws every frame, of long recordings every n-th, and keeps captions.

    `captions` says of each frame, by its number, when it was, under which condition (what `condition_at`
    gives for its stamp in ns) and what was seen. Raises BagError if the recording cannot be read.
    """

    def __init__(self, recording: Path, condition_at: Callable[[int], str | None]) -> None:
        with BagReader(recording) as bag:
            plan = plan_replay(bag.topics)
            frames = sum(t.message_count for t in bag.topics if t.name in plan.frame_topics)
        self._condition_at = condition_at
        self._camera = plan.cameras[0].name if plan.cameras else None
        self._every = max(1, -(-frames // MAX_PICTURES))
        self._animation = BirdsEyeAnimation()
        self._start_ns: int | None = None
        self.captions: dict[int, str] = {}

    def __call__(self, frame: Frame, truth: tuple[TrueBox, ...], find_view: ViewFinder) -> None:
        """Take a frame."""
        self.captions[frame.number] = self._caption(frame)
        if frame.number % self._every:
            return
        images = sorted(frame.images, key=lambda pair: pair[0].camera != self._camera)
        self._animation.add(
            images, frame.fused, truth, find_view, frame.stamp_ns, self.captions[frame.number]
        )

    def save(self, path: Path) -> bool:
        """Write the animation; False if there was no frame. Raises BagError."""
        return self._animation.save(path)

    def _caption(self, frame: Frame) -> str:
        if self._start_ns is None:
            self._start_ns = frame.stamp_ns
        parts = [f"{(frame.stamp_ns - self._start_ns) / 1e9:.1f} s"]
        if condition := self._condition_at(frame.stamp_ns):
            parts.append(condition)
        objects = sum(len(result.detections) for result, _ in frame.images)
        parts.append(f"{objects} in images")
        if frame.fused is not None:
            parts.append(f"{len(frame.fused.detections)} in 3D")
        return "   ".join(parts)
