"""Lidar and fusion on a GPU against the same on the host, result by result."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from builders import (
    Sweep,
    Thing,
    block,
    camera_model,
    camera_mount,
    car,
    cast_sweep,
    corners_of,
    lidar_mount,
    pedestrian,
    view_of,
)

from avperception.errors import EngineError
from avperception.pipeline.device.cuda import CudaDevice
from avperception.pipeline.device.cuda_errors import import_cupy
from avperception.pipeline.device.cuda_lidar import CudaLidarResult
from avperception.pipeline.device.cuda_sweep import SWEEPS_ON_DEVICE
from avperception.pipeline.fusion import CameraView, FusionSettings, fuse
from avperception.pipeline.lidar import LidarPipeline, LidarSettings
from avperception.types import Detection3D, LidarResult, PointCloud

ARRAYS = ("points", "intensity", "is_ground", "ground_height")
BARREL = [-0.3728755, 0.2037299, 0.002219027, 0.001383707, -0.07233722]


@pytest.fixture(params=["captured", "one by one", "mapped"])
def device(request: pytest.FixtureRequest) -> CudaDevice:
    """The GPU, with the work in a graph, without, and with points read from the host's memory."""
    try:
        import_cupy()
    except EngineError as error:
        pytest.skip(str(error))
    return CudaDevice(graphs=request.param != "one by one", mapped=request.param == "mapped")


def cloud_of(points: np.ndarray, stamp_ns: int = 0) -> PointCloud:
    intensity = np.arange(len(points), dtype=np.float32)
    return PointCloud(np.asarray(points, np.float32).reshape(-1, 3), intensity, stamp_ns, "lidar")


def random_cloud(seed: int, count: int) -> PointCloud:
    random = np.random.default_rng(seed)
    return cloud_of(random.normal(0, 1, (count, 3)) * [45, 45, 1.5] - [0, 0, 1], seed)


def check_same(found: LidarResult, expected: LidarResult) -> None:
    for name in ARRAYS:
        own, wanted = getattr(found, name), getattr(expected, name)
        np.testing.assert_array_equal(own, wanted)
        assert own.dtype == wanted.dtype and own.shape == wanted.shape
    assert (found.stamp_ns, found.frame_id) == (expected.stamp_ns, expected.frame_id)
    np.testing.assert_array_equal(found.T_target_lidar, expected.T_target_lidar)
    assert "lidar" in found.stage_ms


def test_sweeps_of_all_sizes_give_what_the_host_gives(device: CudaDevice) -> None:
    settings = LidarSettings(max_range=70)
    own, reference = LidarPipeline(settings, device), LidarPipeline(settings)
    T = lidar_mount()
    for seed, count in enumerate([4000, 0, 1, 3999, 17, 60_000, 5, 100_000, 300, 0]):
        cloud = random_cloud(seed, count)
        T[:3, 3] += 1.5
        check_same(own.process(cloud, T.copy()), reference.process(cloud, T.copy()))
    # Room is made anew for the first sweep and for the two that are too large for it.
    assert own.captures <= 3 + 1


def test_many_sizes_do_not_pile_up_in_memory(device: CudaDevice) -> None:
    cupy = import_cupy()
    pipeline = LidarPipeline(LidarSettings(), device)
    pipeline.process(random_cloud(0, 80_000), lidar_mount())
    free = cupy.cuda.runtime.memGetInfo()[0]
    captures = pipeline.captures
    for count in range(100, 80_000, 799):
        pipeline.process(random_cloud(count, count), lidar_mount())
    assert pipeline.captures == captures
    # Together they take 130 MB. The driver takes 2 MiB at a time for a kernel that is first needed late.
    assert free - cupy.cuda.runtime.memGetInfo()[0] < 8 << 20


def test_settings_may_change_while_it_runs(device: CudaDevice) -> None:
    settings = LidarSettings()
    own, reference = LidarPipeline(settings, device), LidarPipeline(settings)
    cloud = random_cloud(1, 5000)
    for change in (
        {},
        {"max_range": 20.0},
        {"min_range": 5.0},
        {"ground_clearance": 0.5},
        {"max_slope": 0.2},
    ):
        for name, value in change.items():
            setattr(settings, name, value)
        check_same(own.process(cloud, lidar_mount()), reference.process(cloud, lidar_mount()))


def test_results_that_are_kept_stay_what_they_are(device: CudaDevice) -> None:
    own, reference = LidarPipeline(LidarSettings(), device), LidarPipeline(LidarSettings())
    clouds = [random_cloud(seed, 2000 + seed) for seed in range(3 * SWEEPS_ON_DEVICE)]
    kept = [own.process(cloud, lidar_mount()) for cloud in clouds]

    on_device = [result for result in kept if isinstance(result, CudaLidarResult) and result.is_on_device]
    assert len(on_device) <= SWEEPS_ON_DEVICE
    for result, cloud in zip(kept, clouds, strict=True):
        check_same(result, reference.process(cloud, lidar_mount()))


def test_results_are_read_while_other_sweeps_are_captured(device: CudaDevice) -> None:
    own, reference = LidarPipeline(LidarSettings(), device), LidarPipeline(LidarSettings())
    clouds = [random_cloud(seed, 10_000 * (seed + 1)) for seed in range(8)]

    with ThreadPoolExecutor(4) as threads:
        reads = []
        for cloud in clouds:
            result = own.process(cloud, lidar_mount())
            expected = reference.process(cloud, lidar_mount())
            reads.append(threads.submit(check_same, result, expected))
            del result
        for read in reads:
            read.result()


def test_buffers_are_used_again(device: CudaDevice) -> None:
    pipeline = LidarPipeline(LidarSettings(), device)
    for seed in range(20):
        pipeline.process(random_cloud(seed, 2000), lidar_mount())
        gc.collect()
    assert pipeline.captures == 1


# --------------------------------------------------------------------------------------------------
# Fusion

THINGS = [
    car(12, 3, 0.4),
    car(-9, 4, 1.2),
    pedestrian(7, -2),
    pedestrian(-6, -3),
    car(2, 9, np.pi / 2),
    block("truck", 18, -6, 0, (7, 2.5, 3)),
    block("bus", -20, 0, 0.2, (11, 2.9, 3.4)),
    block("robot", 5, 6, 0, (1, 1, 1)),
]


@pytest.fixture(scope="module")
def sweep() -> Sweep:
    return cast_sweep([*THINGS, block("wall", 24, 0, 0, (0.4, 40, 4))], half_angle=180, slope=0.01)


def views_around(count: int = 6, width: int = 900) -> list[CameraView]:
    """Cameras in a circle, with and without distortion, whose edges cut things off."""
    views = []
    for i in range(count):
        T = camera_mount(yaw=2 * np.pi * i / count)
        plain = camera_model(width=width, focal=700)
        seen = [thing for thing in THINGS if _is_in_sight(thing, T, plain.width / 2 / 700)]
        view = view_of(seen, f"camera{i}", plain, T)
        lens = camera_model(width=width, focal=700, D=[[], BARREL, [0.01, 0, 0, 0]][i % 3])
        model = ["plumb_bob", "plumb_bob", "equidistant"][i % 3]
        views.append(replace(view, camera=replace(lens, distortion_model=model)))
    return views


def _is_in_sight(thing: Thing, T: np.ndarray, slope: float) -> bool:
    x, _, z = (corners_of(thing) @ T[:3, :3].T + T[:3, 3]).T
    return bool((z > 0.5).all() and (np.abs(x) < 0.95 * slope * z).any())


def check_same_objects(found: Sequence[Detection3D], expected: Sequence[Detection3D]) -> None:
    assert len(found) == len(expected)
    for own, wanted in zip(found, expected, strict=True):
        assert (own.class_name, own.score, own.cameras) == (wanted.class_name, wanted.score, wanted.cameras)
        np.testing.assert_array_equal(own.point_indices, wanted.point_indices)
        for name in ("center", "size", "yaw", "covariance"):
            np.testing.assert_allclose(getattr(own, name), getattr(wanted, name), rtol=1e-9, atol=1e-9)


def fused_both(
    device: CudaDevice, sweep: Sweep, views: list[CameraView], settings: FusionSettings | None = None
) -> tuple[tuple[Detection3D, ...], tuple[Detection3D, ...], LidarResult]:
    settings = settings or FusionSettings()
    pipeline = LidarPipeline(LidarSettings(max_range=60), device)
    on_gpu = pipeline.process(sweep.cloud, lidar_mount())
    on_host = LidarPipeline(LidarSettings(max_range=60)).process(sweep.cloud, lidar_mount())
    return fuse(on_gpu, views, settings), fuse(on_host, views, settings), on_gpu


def test_objects_are_those_of_the_host(device: CudaDevice, sweep: Sweep) -> None:
    found, expected, _ = fused_both(device, sweep, views_around())

    check_same_objects(found, expected)
    assert len(expected) >= 6


def test_the_points_stay_on_the_gpu_while_they_are_fused(
    device: CudaDevice, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avperception.pipeline.device import sweep_graph

    def refuse(self: Any) -> Any:
        raise AssertionError("the points came to the host")

    monkeypatch.setattr(sweep_graph.SweepGraph, "download", refuse)

    found, expected, _ = fused_both(device, sweep, views_around())

    check_same_objects(found, expected)


def test_a_sweep_that_had_to_leave_the_gpu_is_fused_on_the_host(device: CudaDevice, sweep: Sweep) -> None:
    _, expected, result = fused_both(device, sweep, views_around())
    assert isinstance(result, CudaLidarResult)
    result.leave_device()

    check_same_objects(fuse(result, views_around(), FusionSettings()), expected)


@pytest.mark.parametrize(
    "views",
    [[], views_around()[:1], [view_of([])], [view_of([]), *views_around()[:2], view_of([], "last")]],
    ids=["no camera", "one", "nothing found", "some found nothing"],
)
def test_any_number_of_cameras_and_boxes(device: CudaDevice, sweep: Sweep, views: list[CameraView]) -> None:
    found, expected, _ = fused_both(device, sweep, views)

    check_same_objects(found, expected)


def test_an_empty_sweep_gives_no_objects(device: CudaDevice) -> None:
    pipeline = LidarPipeline(LidarSettings(), device)
    empty = pipeline.process(cloud_of(np.zeros((0, 3))), lidar_mount())

    assert fuse(empty, views_around(), FusionSettings()) == ()
    assert len(empty.points) == len(empty.intensity) == 0


def test_more_points_than_expected_in_the_boxes_are_made_room_for(
    device: CudaDevice, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avperception.pipeline.device import cuda_objects

    monkeypatch.setattr(cuda_objects, "FIRST_POINTS", 64)

    found, expected, _ = fused_both(device, sweep, views_around())

    check_same_objects(found, expected)


def test_what_there_is_no_room_for_is_counted(
    device: CudaDevice, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avperception.pipeline.device import cuda_objects

    monkeypatch.setattr(cuda_objects, "FIRST_POINTS", 128)
    monkeypatch.setattr(cuda_objects, "MAX_POINTS", 256)
    pipeline = LidarPipeline(LidarSettings(), device)

    fuse(pipeline.process(sweep.cloud, lidar_mount()), views_around(), FusionSettings())

    assert pipeline.overflow > 0


def test_results_repeat(device: CudaDevice, sweep: Sweep) -> None:
    first, _, _ = fused_both(device, sweep, views_around())
    again, _, _ = fused_both(device, sweep, views_around())

    for own, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(own.center, other.center)
        np.testing.assert_array_equal(own.point_indices, other.point_indices)
