"""Play a recording through the node and write down what comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avperception.bags import BagReader, BagWriter
from avperception.drawing.birds_eye import TrueBox
from avperception.errors import BagError
from avperception.pipeline.fusion import CameraView
from avperception.replay.metrics import ReplayMetrics
from avperception.replay.pictures import PictureBook
from avperception.replay.plan import ReplayPlan, plan_replay
from avperception.replay.player import Frame, Player, Step
from avperception.replay.truth import TruthScore, true_boxes
from avperception.types import CameraResult

if TYPE_CHECKING:
    from avperception.replay.driver import ReplayDriver

Progress = Callable[[int, int], None]
"""Told frames done and frames in all."""

ViewFinder = Callable[[CameraResult], CameraView | None]
"""Gives the calibration and place of the camera of a result, None where they are not known."""

Observer = Callable[[Frame, tuple[TrueBox, ...], ViewFinder], None]
"""Called with each frame and its true boxes, those of the recording's own /ground_truth."""


@dataclass(frozen=True)
class ReplayOptions:
    """`parameters` of the node, further `ros_args`, the `points` topic, and how many pictures at most."""

    parameters: dict[str, Any] = field(default_factory=dict)
    ros_args: tuple[str, ...] = ()
    points: str | None = None
    max_pictures: int = 300


def replay(
    bag_path: Path,
    out: Path,
    options: ReplayOptions,
    progress: Progress,
    on_frame: Observer | None = None,
) -> dict[str, Any]:
    """Play a recording in lock step; give the figures that are also in `out`/metrics.json.

    Writes `detections.mcap` (every output topic), `metrics.json` and `overlays/*.png`. After an
    exception or Ctrl-C the files hold what was done until then. Raises BagError for a recording that
    cannot be played and ModelError, EngineError or ReplayError when the node does not start.
    """
    with ExitStack() as stack:
        bag = stack.enter_context(BagReader(bag_path))
        plan = plan_replay(bag.topics, options.points)
        make_folder(out)
        driver = stack.enter_context(start_driver(plan, options))
        writer = stack.enter_context(
            BagWriter(out / "detections.mcap", overwrite=True, compress=True, keep_on_error=True)
        )
        run = _Run(bag, plan, driver, writer, out, options.max_pictures, on_frame)
        try:
            run.play(progress)
        finally:
            summary = run.finish()
    return summary


def start_driver(plan: ReplayPlan, options: ReplayOptions) -> ReplayDriver:
    """Make the driver of a node with the recording's cameras and the user's parameters."""
    # Only here, for it imports rclpy, and a wrong argument should not wait for that.
    from avperception.replay.driver import ReplayDriver

    parameters: dict[str, Any] = {"cameras": [camera.name for camera in plan.cameras] or [""]}
    for camera in plan.cameras:
        parameters[f"{camera.name}.transport"] = "compressed" if camera.compressed else "raw"
    return ReplayDriver(plan, {**parameters, **options.parameters}, options.ros_args)


def make_folder(out: Path) -> None:
    """Make the folder for results; raises BagError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BagError(f"cannot make the folder {out}: {error.strerror or error}") from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file for people and programs; raises BagError."""
    try:
        path.write_text(json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise BagError(f"cannot write {path}: {error.strerror or error}") from error


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
        on_frame: Observer | None,
    ) -> None:
        self._bag = bag
        self._plan = plan
        self._driver = driver
        self._writer = writer
        self._out = out
        self._on_frame = on_frame
        self._player = Player(bag, plan, driver)
        self._metrics = ReplayMetrics(TruthScore() if plan.truth else None)
        self._truth = self._read_truth()
        self._pictures = PictureBook(out / "overlays")
        self._picture_every = max(1, -(-self._player.frame_count // max_pictures)) if max_pictures else 0

    def play(self, progress: Progress) -> None:
        """Send every message and take what it leads to."""
        for step in self._player.steps():
            self._write(step)
            self._metrics.count_2d(step.cameras)
            for frame in step.frames:
                self._finish_frame(frame)
            progress(self._player.frames_out, self._player.frame_count)

    def finish(self) -> dict[str, Any]:
        """Write metrics.json; give its content."""
        summary = self._metrics.summary(self._player, self._driver.node.all_sources, self._bag.damage)
        write_json(self._out / "metrics.json", summary)
        return summary

    def _read_truth(self) -> dict[int, tuple[TrueBox, ...]]:
        """Give the true boxes in the target frame by stamp; they may be recorded after their sweep."""
        truth = {}
        for message in self._bag.messages([self._plan.truth] if self._plan.truth else []):
            content = self._player.content(message)
            if content is not None and content.header.frame_id == self._driver.target_frame:
                stamp = content.header.stamp
                truth[stamp.sec * 1_000_000_000 + stamp.nanosec] = true_boxes(content)
        return truth

    def _finish_frame(self, frame: Frame) -> None:
        truth = self._truth.get(frame.stamp_ns)
        find_view = self._driver.views_of(frame.fused)
        if frame.fused is not None:
            self._metrics.count_3d(frame.fused, truth)
        if self._picture_every and frame.number % self._picture_every == 0:
            self._pictures.add(frame.images, frame.fused, truth or (), find_view, frame.number)
        if self._on_frame is not None:
            self._on_frame(frame, truth or (), find_view)

    def _write(self, step: Step) -> None:
        for message in step.recorded:
            self._writer.add_topic(
                message.topic, message.msgtype, latched=message.topic.endswith("/label_info")
            )
            self._writer.write_cdr(message.topic, step.stamp_ns, message.cdr)
