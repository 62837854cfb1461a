"""Whether a turned camera is noticed: exact boxes and sweeps of the synthetic road, and a false transform."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from avperception.errors import MessageError
from avperception.nodes.diagnostics import Level, Problem
from avperception.nodes.health import drift
from avperception.nodes.health.drift import LEAST_OBJECTS, DriftWatch, find_sightings
from avperception.pipeline.fusion import CameraView, FusionSettings, fuse
from avperception.pipeline.lidar import LidarPipeline, LidarSettings
from avperception.scenes import OBJECT_CLASSES, Scene, default_rig
from avperception.types import CameraResult, Detections2D, FusedResult, LidarResult, PointCloud

RIG = default_rig(1)
FRONT = RIG.cameras[0]
assert RIG.lidar is not None
LIDAR = RIG.lidar


@dataclass(frozen=True)
class Frame:
    lidar: LidarResult
    result: CameraResult


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """Sweeps and 2D boxes of two drives, with nothing left to a network."""
    pipeline = LidarPipeline(LidarSettings())
    found = []
    for seed in (3, 8):
        scene = Scene(seed, "day", "straight", 8.0, RIG)
        for t in np.linspace(0.3, 7.7, 9):
            sweep, stamp_ns = scene.sweep(float(t)), round(t * 1e9)
            cloud = PointCloud(sweep.points_lidar, sweep.intensity, stamp_ns, "lidar")
            truth = scene.boxes("front", scene.picture("front", float(t)))
            boxes = [box for box in truth if box.visible > 0.5]
            found.append(Frame(pipeline.process(cloud, LIDAR.T_base_lidar), camera_result(boxes, stamp_ns)))
    return found


def camera_result(boxes: list, stamp_ns: int) -> CameraResult:
    detections = Detections2D(
        np.array([box.box for box in boxes], np.float32).reshape(-1, 4),
        np.full(len(boxes), 0.9, np.float32),
        np.array([OBJECT_CLASSES.index(box.class_name) for box in boxes], np.int32),
        OBJECT_CLASSES,
    )
    size = FRONT.model.width, FRONT.model.height
    return CameraResult("front", stamp_ns, "front_optical", *size, detections, None, (), ())


def turned(yaw_deg: float) -> np.ndarray:
    """T_camera_target of the front camera, as if it had been turned to the left by this."""
    angle = np.radians(yaw_deg)
    turn = np.eye(4)
    turn[0, 0] = turn[2, 2] = np.cos(angle)
    turn[0, 2], turn[2, 0] = np.sin(angle), -np.sin(angle)
    return turn @ np.linalg.inv(FRONT.T_base_camera)


def fused(frame: Frame, yaw_deg: float) -> tuple[FusedResult, CameraView]:
    view = CameraView(frame.result, FRONT.model, turned(yaw_deg))
    detections = fuse(frame.lidar, [view], FusionSettings())
    lidar = frame.lidar
    return FusedResult(lidar.stamp_ns, "base_link", detections, lidar, (frame.result,), ()), view


@pytest.mark.parametrize(
    ("yaw_deg", "within"), [(0.0, 0.2), (1.0, 0.4), (-1.0, 0.4), (2.5, 1.0), (-2.5, 1.0)]
)
def test_the_angle_is_that_of_the_turn(frames: list[Frame], yaw_deg: float, within: float):
    angles = []
    for frame in frames:
        result, view = fused(frame, yaw_deg)
        obstacles = frame.lidar.points[~frame.lidar.is_ground]
        angles += [seen.angle_deg for seen in find_sightings(obstacles, view, result.detections)]
    assert len(angles) >= LEAST_OBJECTS / 2
    assert np.median(angles) == pytest.approx(-yaw_deg, abs=within)


def found_in(seen: tuple[FusedResult, CameraView]) -> list[drift.Sighting]:
    """The objects of a frame that count."""
    result, view = seen
    return find_sightings(result.lidar.points[~result.lidar.is_ground], view, result.detections)


class Views:
    """The front camera's view, turned."""

    def __init__(self, yaw_deg: float) -> None:
        self._yaw_deg = yaw_deg
        self.is_calibrated = True

    def view(self, result: CameraResult, sweep_ns: int | None = None) -> CameraView:
        if not self.is_calibrated:
            raise MessageError("no_camera_info", "none has come")
        return CameraView(result, FRONT.model, turned(self._yaw_deg))


class Clock:
    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


class Limits:
    """Those of the parameters' defaults."""

    warn, error = 0.7, 1.5

    def __getitem__(self, name: str) -> float:
        return self.warn if name.endswith("warn") else self.error

    def above(self, name: str, value: float, text: str) -> list[Problem]:
        assert name == "drift"
        level = Level.ERROR if value > self.error else Level.WARN if value > self.warn else Level.OK
        return [Problem(level, text)] if level else []


@pytest.fixture
def watched(frames: list[Frame], request: pytest.FixtureRequest) -> Iterator[tuple[DriftWatch, Clock, Views]]:
    views, clock = Views(request.param), Clock()
    watch = DriftWatch({"front": views}, Limits(), clock)  # type: ignore[arg-type]
    show(watch, clock, traffic(frames * 3, request.param))
    yield watch, clock, views
    watch.stop()


def traffic(frames: list[Frame], yaw_deg: float) -> list[FusedResult]:
    """Each frame seen twice, a second apart; the next, with other objects, comes a minute later."""
    results = []
    for number, frame in enumerate(frames):
        result, _ = fused(frame, yaw_deg)
        results += [tracked(result, 60.0 * number + look, 1000 * number) for look in (1, 2)]
    return results


def tracked(result: FusedResult, time_s: float, first_track: int) -> FusedResult:
    """The same objects at another time, with the numbers of their tracks."""
    detections = tuple(replace(d, track_id=first_track + i) for i, d in enumerate(result.detections))
    return replace(result, stamp_ns=round(time_s * 1e9), detections=detections)


def show(watch: DriftWatch, clock: Clock, results: list[FusedResult]) -> None:
    for result in results:
        clock.now_s += 1.0
        watch.offer(result)
        end = time.monotonic() + 5
        while not watch.is_idle:
            assert time.monotonic() < end
            time.sleep(0.001)


@pytest.mark.parametrize("watched", [0.0], indirect=True)
def test_a_camera_that_is_where_it_should_be(watched: tuple[DriftWatch, Clock, Views]):
    watch, clock, _ = watched
    assert watch.problems("front") == []
    assert abs(float(watch.values("front")["angle to lidar [deg]"])) < 0.2
    clock.now_s += drift.FORGOTTEN_S + 60
    assert watch.drift("front") is None


@pytest.mark.parametrize("watched", [-1.2], indirect=True)
def test_a_camera_that_was_turned(watched: tuple[DriftWatch, Clock, Views]):
    (problem,) = watched[0].problems("front")
    assert problem.level == Level.WARN
    assert "deg right of the lidar's objects" in problem.text and "mounting" in problem.text


@pytest.mark.parametrize("watched", [0.0], indirect=True)
def test_one_look_in_a_period_and_none_without_a_calibration(
    watched: tuple[DriftWatch, Clock, Views], frames: list[Frame]
):
    watch, clock, views = watched
    before = watch.drift("front")
    result, _ = fused(frames[0], 0.0)
    for look in range(20):
        watch.offer(tracked(result, 1e5 + look / 10, 10**6))
    views.is_calibrated = False
    show(watch, clock, [tracked(result, 2e5 + look, 10**6) for look in range(3)])
    assert before is not None and watch.drift("front") == before


@pytest.mark.parametrize("lost_s", [0, 5], ids=["followed", "lost every 5 s"])
def test_an_object_counts_once_however_long_it_is_seen(frames: list[Frame], lost_s: int):
    result, view = max((fused(frame, -1.2) for frame in frames), key=lambda pair: len(found_in(pair)))
    clock = Clock()
    watch = DriftWatch({"front": Views(-1.2)}, Limits(), clock)  # type: ignore[arg-type]
    looks = (tracked(result, second, 1000 * (second // lost_s) if lost_s else 0) for second in range(1, 90))
    show(watch, clock, list(looks))
    count = len(found_in((result, view)))
    assert watch.values("front") == {"objects compared with lidar": str(count)}
    assert 0 < count < LEAST_OBJECTS and watch.problems("front") == []
    watch.stop()


@pytest.mark.parametrize("watched", [-1.2], indirect=True)
def test_a_jump_back_in_time_starts_anew(watched: tuple[DriftWatch, Clock, Views], frames: list[Frame]):
    watch, clock, _ = watched
    assert watch.problems("front")
    show(watch, clock, traffic(frames[:1], -1.2)[:1])
    assert watch.drift("front") is None


def test_an_object_that_passes_quickly_does_not_count(frames: list[Frame]):
    clock, views = Clock(), {"front": Views(0.0)}
    watch = DriftWatch(views, Limits(), clock)  # type: ignore[arg-type]
    result, _ = fused(frames[0], 0.0)
    show(watch, clock, [tracked(result, 1.0, 0)])
    views["front"] = Views(6.0)  # the vehicle turns by that from one look to the next
    show(watch, clock, [tracked(fused(frames[0], 6.0)[0], 2.0, 0)])
    assert watch.values("front") == {"objects compared with lidar": "0"}
    watch.stop()


@pytest.mark.parametrize(("spread_deg", "is_told"), [(0.5, True), (12.0, False)])
def test_a_median_that_may_be_chance_is_no_alarm(spread_deg: float, is_told: bool):
    angles = 1.0 + spread_deg * np.linspace(-1, 1, LEAST_OBJECTS + 2)
    assert drift.median_of(angles).is_certain == is_told
    assert drift.median_of(angles).angle_deg == pytest.approx(1.0)


def test_a_box_that_is_cut_or_shared_does_not_count(frames: list[Frame]):
    result, view = fused(frames[0], 0.0)
    obstacles = frames[0].lidar.points[~frames[0].lidar.is_ground]
    shared = [replace(d, cameras=("front", "left")) for d in result.detections]
    assert len(find_sightings(obstacles, view, shared)) == 0
    found = view.result.detections
    cut = np.where([True, False, False, False], 0.0, found.boxes).astype(np.float32)
    for others in (replace(found, boxes=cut), camera_result([], 1).detections):
        other = replace(view, result=replace(view.result, detections=others))
        assert len(find_sightings(obstacles, other, result.detections)) == 0
