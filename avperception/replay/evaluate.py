"""Play a recording with ground truth through the node and score what comes out."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avperception.bags import BagReader
from avperception.errors import BagError, ConfigurationError, MessageError
from avperception.evaluation.boxes_2d import TrueBoxes2D, require_pycocotools
from avperception.evaluation.boxes_3d import TrueBox3D
from avperception.evaluation.score import Score, ScoreBook
from avperception.evaluation.truth import true_boxes_2d, true_boxes_3d, visible_shares
from avperception.replay.plan import DETECTIONS_3D, IMAGE, plan_replay
from avperception.replay.player import Player
from avperception.replay.replay import ReplayOptions, make_folder, start_driver, write_json
from avperception.types import CameraResult, Detections2D, FusedResult, UInt8

TRUTH_3D, CONDITION = "/ground_truth", "/ground_truth/condition"
DETECTIONS_2D = "vision_msgs/msg/Detection2DArray"
STRING = "std_msgs/msg/String"
LABEL_INFO = "vision_msgs/msg/LabelInfo"

SCORE_THRESHOLD = 0.05
"""Score from which the detector's boxes take part: average precision needs the doubtful ones too."""

_NOTHING = Detections2D(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), ())


class RecordedTruth:
    """A recording's ground truth, by stamp [ns]; masks are kept compressed.

    `boxes_2d` and the masks are also by camera. Raises BagError if the recording has no true boxes.
    """

    def __init__(self, bag: BagReader, cameras: dict[str, str]) -> None:
        """Read the truth; `cameras` maps the namespace of each camera to its name."""
        self._types = {topic.name: topic.msgtype for topic in bag.topics}
        self._bag = bag
        if self._types.get(TRUTH_3D) != DETECTIONS_3D:
            raise BagError(
                f"{bag.path} has no ground truth ({TRUTH_3D} of {DETECTIONS_3D}) to evaluate against: "
                "make a recording that has, with `avperception scenes make OUT.mcap`"
            )
        self.boxes_2d: dict[tuple[str, int], TrueBoxes2D] = {}
        self.boxes_3d: dict[int, tuple[TrueBox3D, ...]] = {}
        self.mask_classes: tuple[str, ...] = ()
        self._masks: dict[tuple[str, int], UInt8] = {}
        self._visible: dict[int, dict[str, float]] = {}
        has_2d = [self._read_camera(namespace, name) for namespace, name in cameras.items()]
        self.frame_id = ""
        for stamp_ns, message in self._read(TRUTH_3D, DETECTIONS_3D):
            self.frame_id = str(message.header.frame_id)
            visible = self._visible.get(stamp_ns, {}) if any(has_2d) else None
            self.boxes_3d[stamp_ns] = true_boxes_3d(message, visible)
        conditions = [(ns, str(m.data)) for ns, m in self._read(CONDITION, STRING)]
        self._condition_ns = [ns for ns, _ in conditions]
        self._conditions = [name for _, name in conditions]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes of the true objects, in alphabetical order."""
        names = {box.class_name for boxes in self.boxes_3d.values() for box in boxes}
        return tuple(sorted(names.union(*(boxes.class_names for boxes in self.boxes_2d.values()))))

    def condition(self, stamp_ns: int) -> str | None:
        """Give the condition at a stamp, None where the recording does not tell."""
        index = bisect_right(self._condition_ns, stamp_ns)
        return self._conditions[max(index - 1, 0)] if self._conditions else None

    def mask(self, camera: str, stamp_ns: int) -> UInt8 | None:
        """Give the true class ids (height, width) of an image, None where there are none."""
        packed = self._masks.get((camera, stamp_ns))
        return None if packed is None else np.asarray(cv2.imdecode(packed, cv2.IMREAD_UNCHANGED), np.uint8)

    def _read_camera(self, namespace: str, camera: str) -> bool:
        root = f"{namespace}/ground_truth"
        for _, message in self._read(f"{root}/label_info", LABEL_INFO):
            self.mask_classes = tuple(str(entry.class_name) for entry in message.class_map)
        for stamp_ns, message in self._read(f"{root}/detections_2d", DETECTIONS_2D):
            self.boxes_2d[camera, stamp_ns] = true_boxes_2d(message)
            best = self._visible.setdefault(stamp_ns, {})
            for track, share in visible_shares(message).items():
                best[track] = max(share, best.get(track, 0.0))
        for stamp_ns, message in self._read(f"{root}/segmentation", IMAGE):
            if message.encoding != "mono8" or len(message.data) != message.height * message.step:
                continue
            rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
            self._masks[camera, stamp_ns] = cv2.imencode(".png", rows[:, : message.width])[1]
        return f"{root}/detections_2d" in self._types

    def _read(self, topic: str, msgtype: str) -> Iterator[tuple[int, Any]]:
        """Give stamp and content of a topic's messages; those that cannot be read are left out."""
        if self._types.get(topic) != msgtype:
            return
        for message in self._bag.messages([topic]):
            try:
                content = self._bag.deserialize(message)
            except MessageError:
                continue
            stamp = getattr(getattr(content, "header", None), "stamp", None)
            yield (message.stamp_ns if stamp is None else stamp.sec * 1_000_000_000 + stamp.nanosec), content


class Evaluation:
    """Compares results with a recording's truth; recordings evaluated together share one `book`."""

    def __init__(self, truth: RecordedTruth, book: ScoreBook) -> None:
        self._truth = truth
        self._book = book
        self._images_left = set(truth.boxes_2d)
        self._sweeps_left = set(truth.boxes_3d)

    def add(self, cameras: Iterable[CameraResult], fused: FusedResult | None) -> None:
        """Score the 2D boxes and class masks of images, and the fused boxes of a sweep."""
        for result in cameras:
            self._add_camera(result)
        if fused is not None:
            self._add_fused(fused)

    def finish(self) -> None:
        """Count the objects of images and sweeps that gave no result as missed."""
        for camera, stamp_ns in sorted(self._images_left):
            for score in self._scores(stamp_ns):
                score.add_image(_NOTHING, self._truth.boxes_2d[camera, stamp_ns])
        for stamp_ns in sorted(self._sweeps_left):
            for score in self._scores(stamp_ns):
                score.add_sweep((), self._truth.boxes_3d[stamp_ns])
        self._images_left.clear()
        self._sweeps_left.clear()

    def _add_camera(self, result: CameraResult) -> None:
        key = (result.camera, result.stamp_ns)
        self._images_left.discard(key)
        truth = self._truth.boxes_2d.get(key)
        mask = self._truth.mask(*key) if result.segmentation is not None else None
        for score in self._scores(result.stamp_ns):
            if truth is not None:
                score.add_image(result.detections, truth)
            if mask is not None and result.segmentation is not None:
                score.add_mask(result.segmentation, result.segmentation_classes, mask)

    def _add_fused(self, result: FusedResult) -> None:
        self._sweeps_left.discard(result.stamp_ns)
        truth = self._truth.boxes_3d.get(result.stamp_ns)
        if truth is not None:
            for score in self._scores(result.stamp_ns):
                score.add_sweep(result.detections, truth)

    def _scores(self, stamp_ns: int) -> tuple[Score, ...]:
        return self._book.scores(self._truth.condition(stamp_ns))


def new_book(truths: Iterable[RecordedTruth]) -> ScoreBook:
    """Make the scores of recordings that are evaluated together.

    Raises ConfigurationError when pycocotools is not installed.
    """
    require_pycocotools()
    names: set[str] = set()
    masks: tuple[str, ...] = ()
    for truth in truths:
        names.update(truth.class_names)
        masks = truth.mask_classes or masks
    return ScoreBook(tuple(sorted(names)), masks)


def read_truth(bag_path: Path, points: str | None = None) -> RecordedTruth:
    """Read a recording's ground truth; raises BagError when there is none."""
    with BagReader(bag_path) as bag:
        plan = plan_replay(bag.topics, points)
        images = {camera.name: camera.image.removesuffix("/compressed") for camera in plan.cameras}
        return RecordedTruth(bag, {image.rpartition("/")[0]: name for name, image in images.items()})


def _check_frame(path: Path, truth: RecordedTruth, target_frame: str) -> None:
    if truth.frame_id not in ("", target_frame):
        raise ConfigurationError(
            f"the ground truth of {path} is in frame {truth.frame_id}, the results are in {target_frame}: "
            f"set the parameter target_frame to {truth.frame_id}"
        )


def evaluate(
    bag_paths: Sequence[Path], out: Path, options: ReplayOptions, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Play recordings in lock step and score them together; give what is also in `out`/evaluation.json.

    Raises BagError for a recording that cannot be played or has no truth, ConfigurationError without
    pycocotools or when the truth is in another frame than the results, and ModelError, EngineError or
    ReplayError when the node does not start.
    """
    require_pycocotools()
    truths = [read_truth(path, options.points) for path in bag_paths]
    make_folder(out)
    book = new_book(truths)
    frames = {"in": 0, "out": 0}
    lost: Counter[str] = Counter()
    for path, truth in zip(bag_paths, truths, strict=True):
        evaluation = Evaluation(truth, book)
        with BagReader(path) as bag:
            plan = plan_replay(bag.topics, options.points)
            with start_driver(plan, options) as driver:
                _check_frame(path, truth, driver.target_frame)
                player = Player(bag, plan, driver)
                for step in player.steps():
                    evaluation.add(step.cameras, None)
                    for frame in step.frames:
                        evaluation.add((), frame.fused)
                    progress(player.frames_out, player.frame_count)
            evaluation.finish()
            frames = {"in": frames["in"] + player.frames_in, "out": frames["out"] + player.frames_out}
            lost += player.unreadable
            lost.update([bag.damage] if bag.damage else [])
    summary = {
        **book.summary(),
        "frames": {**frames, "lost": dict(sorted(lost.items()))},
        "recordings": [path.name for path in bag_paths],
        "parameters": options.parameters,
    }
    write_json(out / "evaluation.json", summary)
    return summary
