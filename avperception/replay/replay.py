"""Play a recording through the node and write down what comes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avperception.bags import BagMessage, BagReader, BagWriter
from avperception.drawing.birds_eye import TrueBox
from avperception.errors import BagError, MessageError
from avperception.replay.metrics import ReplayMetrics
from avperception.replay.pictures import PictureBook
from avperception.replay.plan import ReplayPlan, plan_replay
from avperception.replay.truth import TruthScore, true_boxes
from avperception.types import CameraResult, FusedResult, Image

if TYPE_CHECKING:
    from avperception.replay.driver import Recorded, ReplayDriver


@dataclass(frozen=True)
class ReplayOptions:
    """`parameters` of the node, further `ros_args`, the `points` topic, and how many pictures at most."""

    parameters: dict[str, Any] = field(default_factory=dict)
    ros_args: tuple[str, ...] = ()
    points: str | None = None
    max_pictures: int = 300


def replay(
    bag_path: Path, out: Path, options: ReplayOptions, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Play a recording in lock step; give the figures that are also in `out`/metrics.json.

    Writes `detections.mcap` (every output topic), `metrics.json` and `overlays/*.png`. `progress` is
    told frames done and in all. After an exception or Ctrl-C the files hold what was done until then.
    Raises BagError for a recording that cannot be played and ModelError, EngineError or ReplayError
    when the node does not start.
    """
    # Only here, for it imports rclpy, and a wrong argument should not wait for that.
    from avperception.replay.driver import ReplayDriver

    with ExitStack() as stack:
        bag = stack.enter_context(BagReader(bag_path))
        plan = plan_replay(bag.topics, options.points)
        parameters = {**_camera_parameters(plan), **options.parameters}
        _make_folder(out)
        driver = stack.enter_context(ReplayDriver(plan, parameters, options.ros_args))
        writer = stack.enter_context(
            BagWriter(out / "detections.mcap", overwrite=True, compress=True, keep_on_error=True)
        )
        run = _Run(bag, plan, driver, writer, out, options.max_pictures)
        try:
            run.play(progress)
        finally:
            summary = run.finish()
    return summary


def _camera_parameters(plan: ReplayPlan) -> dict[str, Any]:
    parameters: dict[str, Any] = {"cameras": [camera.name for camera in plan.cameras] or [""]}
    for camera in plan.cameras:
        parameters[f"{camera.name}.transport"] = "compressed" if camera.compressed else "raw"
    return parameters


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BagError(f"cannot make the folder {out}: {error.strerror or error}") from error


class _Run:
    """One replay under way."""

    def __init__(
        self,
        bag: BagReader,
        plan: ReplayPlan,
        driver: ReplayDriver,
        writer: BagWriter,
        out: Path,
        max_pictures: int,
    ) -> None:
        self._bag = bag
        self._plan = plan
        self._driver = driver
        self._writer = writer
        self._out = out
        self._metrics = ReplayMetrics()
        self._metrics.truth = TruthScore() if plan.truth else None
        self._truth = self._read_truth()
        self._images: dict[int, Image] = {}
        self._pictures = PictureBook(out / "overlays", driver.view)
        self._frame_count = sum(
            topic.message_count for topic in bag.topics if topic.name in plan.frame_topics
        )
        self._picture_every = max(1, -(-self._frame_count // max_pictures)) if max_pictures else 0

    def play(self, progress: Callable[[int, int], None]) -> None:
        """Send every message and take what it leads to."""
        end_ns = 0
        for message in self._readable_messages():
            if message.topic in self._plan.frame_topics:
                self._metrics.frames_in += 1
            self._driver.play(message)
            self._take(message.stamp_ns)
            end_ns = message.stamp_ns
            progress(self._metrics.frames_out, self._frame_count)
        # A sweep may still be waiting for a camera: let its time run out.
        self._driver.advance(end_ns + 60_000_000_000)
        self._take(end_ns)
        progress(self._metrics.frames_out, self._frame_count)

    def finish(self) -> dict[str, Any]:
        """Write metrics.json; give its content."""
        self._metrics.damage = self._bag.damage
        node = self._driver.node
        sources = [*node.sources, *([node.fusion.source] if node.fusion else [])]
        summary = self._metrics.summary(sources)
        path = self._out / "metrics.json"
        try:
            path.write_text(json.dumps(summary, indent=2) + "\n")
        except OSError as error:
            raise BagError(f"cannot write {path}: {error.strerror or error}") from error
        return summary

    def _readable_messages(self) -> Iterator[BagMessage]:
        """Give the messages of the node's inputs whose bytes fit their type."""
        for message in self._bag.messages(self._plan.topics):
            if self._content(message) is not None:
                yield message

    def _read_truth(self) -> dict[int, tuple[TrueBox, ...]]:
        """Give the true boxes by stamp; before the replay, for they may be recorded after their sweep."""
        truth = {}
        for message in self._bag.messages([self._plan.truth] if self._plan.truth else []):
            content = self._content(message)
            if content is not None:
                stamp = content.header.stamp
                truth[stamp.sec * 1_000_000_000 + stamp.nanosec] = true_boxes(content)
        return truth

    def _content(self, message: BagMessage) -> Any:
        try:
            return self._bag.deserialize(message)
        except MessageError as error:
            self._metrics.unreadable[error.reason] += 1
            return None

    def _take(self, stamp_ns: int) -> None:
        results = self._driver.settle()
        self._write(results.recorded, stamp_ns)
        for result, _ in results.cameras:
            names = result.detections.class_names
            self._metrics.detections_2d.update(names[i] for i in result.detections.class_ids)
        if self._plan.points is None:
            for result, image in results.cameras:
                self._finish_frame([(result, image)], None)
            return
        self._images.update({id(result): image for result, image in results.cameras})
        for fused in results.fused:
            self._metrics.detections_3d.update(d.class_name for d in fused.detections)
            pairs = [(r, self._images[id(r)]) for r in fused.cameras if id(r) in self._images]
            self._finish_frame(pairs, fused)

    def _finish_frame(self, images: list[tuple[CameraResult, Image]], fused: FusedResult | None) -> None:
        truth: tuple[TrueBox, ...] = ()
        if fused is not None:
            truth = self._truth.get(fused.stamp_ns, ())
            if self._metrics.truth is not None and fused.stamp_ns in self._truth:
                self._metrics.truth.add(fused, truth)
        frame = self._metrics.frames_out
        self._metrics.frames_out += 1
        if self._picture_every and frame % self._picture_every == 0:
            self._pictures.add(images, fused, truth, frame)

    def _write(self, recorded: list[Recorded], stamp_ns: int) -> None:
        for message in recorded:
            self._writer.add_topic(message.topic, message.msgtype, latched="label_info" in message.topic)
            self._writer.write_cdr(message.topic, stamp_ns, message.cdr)
