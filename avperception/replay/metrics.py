"""What metrics.json says of a replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from avperception.replay.truth import TruthScore


class Counted(Protocol):
    """A source of messages with its counts, as the node keeps them."""

    @property
    def dropped(self) -> dict[str, int]: ...

    @property
    def noted(self) -> dict[str, int]: ...

    def stage_samples_ms(self) -> dict[str, list[float]]: ...


class ReplayMetrics:
    """Counts frames, detections and losses while a recording plays."""

    def __init__(self) -> None:
        self.frames_in = 0
        self.frames_out = 0
        self.unreadable: Counter[str] = Counter()
        self.detections_2d: Counter[str] = Counter()
        self.detections_3d: Counter[str] = Counter()
        self.truth: TruthScore | None = None
        self.damage: str | None = None

    def summary(self, sources: Iterable[Counted]) -> dict[str, Any]:
        """Give all figures; latencies in milliseconds, of each stage over all cameras."""
        sources = list(sources)
        dropped = sum((Counter(source.dropped) for source in sources), Counter()) + self.unreadable
        noted = sum((Counter(source.noted) for source in sources), Counter())
        summary: dict[str, Any] = {
            "frames": {
                "in": self.frames_in,
                "out": self.frames_out,
                "dropped": dict(sorted(dropped.items())),
            },
            "noted": dict(sorted(noted.items())),
            "latency_ms": _percentiles(sources),
            # With a lidar the product is the fused objects; a camera alone gives 2D ones.
            "detections": dict(sorted((self.detections_3d or self.detections_2d).items())),
            "detections_2d": dict(sorted(self.detections_2d.items())),
            "detections_3d": dict(sorted(self.detections_3d.items())),
        }
        if self.truth is not None:
            summary["truth"] = self.truth.summary()
        if self.damage:
            summary["damage"] = self.damage
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
