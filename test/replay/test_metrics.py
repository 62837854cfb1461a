from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest

from avperception.replay.metrics import ReplayMetrics, has_failures
from avperception.types import CameraResult, Detection3D, Detections2D, FusedResult, LidarResult


@dataclass
class Counts:
    """A source with given counts."""

    dropped: dict[str, int] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)
    stages: dict[str, list[float]] = field(default_factory=dict)

    def stage_samples_ms(self) -> dict[str, list[float]]:
        return self.stages


@dataclass
class Played:
    """How far a recording was played."""

    frames_in: int = 3
    frames_out: int = 3
    unreadable: Counter[str] = field(default_factory=Counter)


def test_counts_and_times_of_all_sources_are_put_together():
    played = Played(5, 4, Counter(unreadable=2))
    sources = [
        Counts({"overload": 1, "zero_size": 2}, {"time_jump": 1}, {"camera": [1.0, 2.0]}),
        Counts({"overload": 3}, {}, {"camera": [3.0], "lidar": [7.0]}),
    ]
    summary = ReplayMetrics(None).summary(played, sources, None)
    dropped = {"overload": 4, "unreadable": 2, "zero_size": 2}
    assert summary["frames"] == {"in": 5, "out": 4, "dropped": dropped}
    assert summary["noted"] == {"time_jump": 1}
    p50, p95, p99 = np.percentile([1.0, 2.0, 3.0], [50, 95, 99])
    assert summary["latency_ms"]["camera"] == pytest.approx({"p50": p50, "p95": p95, "p99": p99}, abs=1e-3)
    assert summary["latency_ms"]["lidar"] == {"p50": 7.0, "p95": 7.0, "p99": 7.0}
    assert "truth" not in summary and "damage" not in summary


def seen() -> CameraResult:
    boxes, scores = np.zeros((3, 4), np.float32), np.ones(3, np.float32)
    detections = Detections2D(boxes, scores, np.array([1, 1, 0], np.int32), ("person", "car"))
    return CameraResult("front", 1, "camera", 8, 4, detections, None, (), ())


def fused() -> FusedResult:
    lidar = LidarResult(
        1, "lidar", np.zeros((0, 3), np.float32), np.zeros(0, np.float32), np.zeros(0, bool),
        np.zeros(0, np.float32), np.eye(4),
    )  # fmt: skip
    car = Detection3D(
        1, "car", 0.9, np.zeros(3), np.ones(3), 0.0, np.eye(6), ("front",), np.zeros(0, np.int64)
    )
    return FusedResult(1, "base_link", (car,), lidar, (), ())


def test_the_fused_objects_are_the_detections_where_there_are_any():
    metrics = ReplayMetrics(None)
    metrics.count_2d([seen()])
    assert metrics.summary(Played(), [], None)["detections"] == {"car": 2, "person": 1}
    metrics.count_3d(fused(), None)
    assert metrics.summary(Played(), [], None)["detections"] == {"car": 1}


@pytest.mark.parametrize(
    ("played", "source", "damage", "failed"),
    [
        (Played(), Counts(), None, False),
        (Played(frames_out=2), Counts(), None, True),
        (Played(unreadable=Counter(undecodable=1)), Counts(), None, True),
        (Played(), Counts({"overload": 1}), None, True),
        (Played(), Counts(), "cut off", True),
        (Played(), Counts(noted={"time_jump": 3}), None, False),
    ],
    ids=["all well", "a frame less", "unreadable", "dropped", "cut off", "noted only"],
)
def test_what_counts_as_a_failure(played: Played, source: Counts, damage: str | None, failed: bool):
    assert has_failures(ReplayMetrics(None).summary(played, [source], damage)) is failed
