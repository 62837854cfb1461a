"""Lidar on the GPU: a sweep from the host's memory to the objects behind the boxes of six cameras."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from avperception.benchmark.clock import gpu_ms, host_ms, percentiles
from avperception.benchmark.options import BenchmarkOptions
from avperception.pipeline.device.cuda import CudaDevice
from avperception.pipeline.device.cuda_errors import import_cupy
from avperception.pipeline.device.cuda_lidar import CudaLidarResult
from avperception.pipeline.fusion import CameraView, FusionSettings, fuse
from avperception.pipeline.lidar import LidarPipeline, LidarSettings
from avperception.types import CameraModel, CameraResult, Detections2D, Float64, PointCloud

CAMERAS = 6
BOXES = 20
BEAMS = 64
WIDTH, HEIGHT, FOCAL = 1920, 1080, 1000.0
LIDAR_HEIGHT = 1.8
BARREL = (-0.25, 0.05, 0.0005, -0.0005, 0.0)
SWEEPS = 4
"""Different sweeps that take turns."""


def measure_lidar(options: BenchmarkOptions) -> list[dict[str, Any]]:
    """For each number of points: each part on the GPU by events, and all by the host's clock.

    `sweep_ms` is upload, crop, transform and ground; `gather_ms` the projection into six cameras and the
    gather of the points in 20 boxes each; `device_ms` both. `objects_ms` is the gather with what follows
    it, to the objects' boxes in the host's memory. `host_clock_ms` is from the sweep's arrays to fused
    detections, `reference_ms` the same by the host alone.
    """
    device = CudaDevice()
    return [_measure(device, count, options) for count in options.points]


def _measure(device: CudaDevice, count: int, options: BenchmarkOptions) -> dict[str, Any]:
    cupy = import_cupy()
    views, settings, T = rig(), FusionSettings(), np.eye(4)
    T[2, 3] = LIDAR_HEIGHT
    clouds = [turn(count, seed) for seed in range(SWEEPS)]
    pipeline = LidarPipeline(LidarSettings(), device)
    result = pipeline.process(clouds[0], T)
    assert isinstance(result, CudaLidarResult)
    found = fuse(result, views, settings)
    sweep, objects = result.graph, result.objects.graph
    assert sweep is not None and objects is not None
    lists = objects.capture_lists()

    def process(number: int) -> None:
        fuse(pipeline.process(clouds[number % SWEEPS], T), views, settings)

    sweep_ms = percentiles(gpu_ms(cupy, sweep.stream, sweep.relaunch, options))
    gather_ms = percentiles(gpu_ms(cupy, objects.stream, lambda: lists.launch(objects.stream), options))
    objects_ms = percentiles(gpu_ms(cupy, objects.stream, objects.relaunch, options))
    whole_ms = percentiles(host_ms(process, options))
    few = replace(options, warm_up=1, frames=5)
    reference = LidarPipeline(LidarSettings())
    reference_ms = percentiles(
        host_ms(lambda number: fuse(reference.process(clouds[0], T), views, settings), few)
    )
    device_ms = sweep_ms["p50"] + gather_ms["p50"]
    return {
        "points": count,
        "kept": len(result.points),
        "gathered": objects.points_listed,
        "objects": len(found),
        "sweep_ms": sweep_ms["p50"],
        "gather_ms": gather_ms["p50"],
        "objects_ms": objects_ms["p50"],
        "device_ms": round(device_ms, 4),
        "device_p99_ms": round(sweep_ms["p99"] + gather_ms["p99"], 4),
        "ns_per_point": round(device_ms / count * 1e6, 3),
        "host_clock_ms": whole_ms["p50"],
        "host_clock_p99_ms": whole_ms["p99"],
        "reference_ms": reference_ms["p50"],
    }


def turn(count: int, seed: int) -> PointCloud:
    """One turn of a lidar of 64 beams over a road with things and walls along it, in the sensor's frame."""
    random = np.random.default_rng(seed)
    azimuth = np.repeat(np.linspace(-np.pi, np.pi, -(-count // BEAMS), endpoint=False), BEAMS)[:count]
    elevation = np.tile(np.radians(np.linspace(-25.0, 3.0, BEAMS)), -(-count // BEAMS))[:count]
    to_ground = np.where(elevation < -0.01, LIDAR_HEIGHT / np.maximum(-np.sin(elevation), 1e-3), 150.0)
    walls = random.uniform(6.0, 60.0, 90)[((azimuth + np.pi) / (2 * np.pi) * 90).astype(int) % 90]
    distance = np.minimum(to_ground, walls / np.cos(elevation)) + random.normal(0, 0.02, count)
    ray = np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=1
    )
    points = (ray * distance[:, None]).astype(np.float32)
    return PointCloud(points, np.zeros(count, np.float32), seed, "lidar")


def rig() -> list[CameraView]:
    """Six cameras around the vehicle, each with 20 boxes of the sizes that objects have at 8 to 60 m."""
    random = np.random.default_rng(0)
    K = np.array([[FOCAL, 0, WIDTH / 2 - 0.5], [0, FOCAL, HEIGHT / 2 - 0.5], [0, 0, 1]])
    views = []
    for number in range(CAMERAS):
        size = FOCAL * np.array([2.5, 1.8]) / random.uniform(8, 60, (BOXES, 1))
        middle = random.uniform([100, HEIGHT / 2 - 60], [WIDTH - 100, HEIGHT / 2 + 120], (BOXES, 2))
        boxes = np.concatenate([middle - size / 2, middle + size / 2], axis=1).astype(np.float32)
        found = Detections2D(boxes, np.ones(BOXES, np.float32), np.zeros(BOXES, np.int32), ("car",))
        result = CameraResult(f"camera{number}", 0, "camera", WIDTH, HEIGHT, found, None, (), ())
        model = CameraModel(WIDTH, HEIGHT, K, np.array(BARREL), "plumb_bob", "camera")
        views.append(CameraView(result, model, _mount(2 * np.pi * number / CAMERAS)))
    return views


def _mount(yaw: float) -> Float64:
    """T_camera_target of a camera 1.6 m above the ground that looks along `yaw`."""
    T_target_camera = np.eye(4)
    T_target_camera[:3, 0] = np.sin(yaw), -np.cos(yaw), 0
    T_target_camera[:3, 1] = 0, 0, -1
    T_target_camera[:3, 2] = np.cos(yaw), np.sin(yaw), 0
    T_target_camera[2, 3] = 1.6
    return np.asarray(np.linalg.inv(T_target_camera), dtype=np.float64)
