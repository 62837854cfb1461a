"""What metrics.json says of a replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from avperception.drawing.birds_eye import TrueBox
from avperception.replay.player import Player
from avperception.replay.truth import TruthScore
from avperception.types import CameraResult, FusedResult


class Counted(Protocol):
    """A source of messages with its counts, as the node keeps them."""

    @property
    def dropped(self) -> dict[str, int]: ...

    @property
    def noted(self) -> dict[str, int]: ...

    def stage_samples_ms(self) -> dict[str, list[float]]: ...


class ReplayMetrics:
    """Counts detections while a recording plays, and compares them with the truth."""

    def __init__(self, truth: TruthScore | None) -> None:
        self._truth = truth
        self._detections_2d: Counter[str] = Counter()
        self._detections_3d: Counter[str] = Counter()

    def count_2d(self, results: Iterable[CameraResult]) -> None:
        """Count what cameras detected."""
        for result in results:
            names = result.detections.class_names
            self._detections_2d.update(names[class_id] for class_id in result.detections.class_ids)

    def count_3d(self, result: FusedResult, truth: Sequence[TrueBox] | None) -> None:
        """Count what was fused, and compare it with the truth where that is known for this sweep."""
        self._detections_3d.update(detection.class_name for detection in result.detections)
        if self._truth is not None and truth is not None:
            self._truth.add(result, truth)

    def summary(self, player: Player, sources: Iterable[Counted], damage: str | None) -> dict[str, Any]:
        """Give all figures; latencies in milliseconds, of each stage over all cameras."""
        sources = list(sources)
        dropped = sum((Counter(source.dropped) for source in sources), Counter()) + player.unreadable
        noted = sum((Counter(source.noted) for source in sources), Counter())
        summary: dict[str, Any] = {
            "frames": {
                "in": player.frames_in,
                "out": player.frames_out,
                "dropped": dict(sorted(dropped.items())),
            },
            "noted": dict(sorted(noted.items())),
            "latency_ms": _percentiles(sources),
            # With a lidar the product is the fused objects; a camera alone gives 2D ones.
            "detections": dict(sorted((self._detections_3d or self._detections_2d).items())),
            "detections_2d": dict(sorted(self._detections_2d.items())),
            "detections_3d": dict(sorted(self._detections_3d.items())),
        }
        if self._truth is not None:
            summary["truth"] = self._truth.summary()
        if damage:
            summary["damage"] = damage
        return summary


def has_failures(summary: Mapping[str, Any]) -> bool:
    """Tell whether anything was lost on the way."""
    frames = summary["frames"]
    return bool(frames["dropped"] or frames["out"] < frames["in"] or summary.get("damage"))


def _percentiles(sources: list[Counted]) -> dict[str, dict[str, float]]:
    samples: dict[str, list[float]] = {}
    for source in sources:
        for stage, values in source.stage_samples_ms().items():
            samples.setdefault(stage, []).extend(values)
    result = {}
    for stage, values in sorted(samples.items()):
        p50, p95, p99 = np.percentile(values, [50, 95, 99])
        result[stage] = {"p50": round(p50, 3), "p95": round(p95, 3), "p99": round(p99, 3)}
    return result
