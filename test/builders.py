"""Scenes, sensors and values that the tests of the pipeline are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avperception.pipeline.fusion import CameraView
from avperception.pipeline.lidar import LidarPipeline, LidarSettings
from avperception.types import (
    CameraModel,
    CameraResult,
    Detection3D,
    Detections2D,
    Image,
    LidarResult,
    PointCloud,
)

NO_DISTORTION = np.zeros(0)
LIDAR_HEIGHT = 1.73


# --------------------------------------------------------------------------------------------------
# Things in the world, frame `base_link`: x forward, y left, z up, the ground at z = 0


@dataclass(frozen=True)
class Solid:
    """A box that rays hit."""

    center: NDArray[np.float64]
    size: NDArray[np.float64]
    yaw: float


@dataclass(frozen=True)
class Thing:
    """One object: its true box and the solids that it is built from."""

    class_name: str
    center: NDArray[np.float64]
    size: NDArray[np.float64]
    yaw: float
    solids: tuple[Solid, ...]


def block(class_name: str, x: float, y: float, yaw: float, size: Sequence[float], lift: float = 0.0) -> Thing:
    """A plain box on the ground, or `lift` above it."""
    center, extent = np.array([x, y, lift + size[2] / 2]), np.asarray(size, dtype=float)
    return Thing(class_name, center, extent, yaw, (Solid(center, extent, yaw),))


def car(
    x: float, y: float, yaw: float = 0.0, size: Sequence[float] = (4.3, 1.85, 1.5), class_name: str = "car"
) -> Thing:
    """A car: a body off the ground and a shorter cabin on it."""
    length, width, height = size
    along = np.array([np.cos(yaw), np.sin(yaw)])
    body_top = 0.6 * height
    body = Solid(np.array([x, y, (0.25 + body_top) / 2]), np.array([length, width, body_top - 0.25]), yaw)
    cabin_xy = np.array([x, y]) - 0.06 * length * along
    cabin = Solid(
        np.array([*cabin_xy, (body_top + height) / 2]),
        np.array([0.55 * length, 0.86 * width, height - body_top]),
        yaw,
    )
    return Thing(class_name, np.array([x, y, height / 2]), np.array(size, float), yaw, (body, cabin))


def pedestrian(x: float, y: float, yaw: float = 0.0, class_name: str = "person") -> Thing:
    """A person: legs, trunk and head."""
    center, size = np.array([x, y, 0.875]), np.array([0.5, 0.55, 1.75])
    parts = (
        Solid(np.array([x, y, 0.42]), np.array([0.3, 0.35, 0.84]), yaw),
        Solid(np.array([x, y, 1.15]), np.array([0.3, 0.5, 0.62]), yaw),
        Solid(np.array([x, y, 1.62]), np.array([0.2, 0.18, 0.26]), yaw),
    )
    return Thing(class_name, center, size, yaw, parts)


# --------------------------------------------------------------------------------------------------
# Lidar


@dataclass(frozen=True)
class Sweep:
    """Points in the lidar's own frame, and the index of the thing that each one hit, -1 for the ground."""

    cloud: PointCloud
    owner: NDArray[np.int64]


def lidar_mount(height: float = LIDAR_HEIGHT) -> NDArray[np.float64]:
    """T_base_lidar of a lidar above the origin of base_link."""
    T = np.eye(4)
    T[2, 3] = height
    return T


def cast_sweep(
    things: Sequence[Thing],
    *,
    slope: float = 0.0,
    half_angle: float = 50.0,
    heading: float = 0.0,
    noise: float = 0.02,
    seed: int = 0,
    height: float = LIDAR_HEIGHT,
    stamp_ns: int = 0,
) -> Sweep:
    """What a 64-beam lidar (KITTI's: 26.8 degrees, 0.2 degrees of azimuth) sees of things and a plane.

    The plane rises by `slope` along x. `half_angle` and `heading` [degrees] say which part is swept.
    """
    azimuth = np.radians(heading + np.arange(-half_angle, half_angle, 0.2))
    elevation = np.radians(np.linspace(-24.8, 2.0, 64))
    az, el = (grid.ravel() for grid in np.meshgrid(azimuth, elevation))
    rays = np.stack([np.cos(el) * np.cos(az), np.cos(el) * np.sin(az), np.sin(el)], axis=1)
    origin = np.array([0.0, 0.0, height])
    with np.errstate(divide="ignore", invalid="ignore"):
        to_plane = -height / (rays[:, 2] - slope * rays[:, 0])
    distance = np.where(to_plane > 0, to_plane, np.inf)
    owner = np.full(len(rays), -1)
    for index, thing in enumerate(things):
        for solid in thing.solids:
            hit = _ray_box(origin, rays, solid)
            nearer = hit < distance
            distance[nearer], owner[nearer] = hit[nearer], index
    seen = (distance > 1.5) & (distance < 80)
    noisy = distance[seen] + np.random.default_rng(seed).normal(0, noise, seen.sum())
    points = (rays[seen] * noisy[:, None]).astype(np.float32)
    cloud = PointCloud(points, np.zeros(len(points), np.float32), stamp_ns, "lidar")
    return Sweep(cloud, owner[seen])


def _ray_box(origin: NDArray[np.float64], rays: NDArray[np.float64], solid: Solid) -> NDArray[np.float64]:
    """Distance along each ray to a solid, infinite where it misses (slab method)."""
    cosine, sine = np.cos(solid.yaw), np.sin(solid.yaw)
    to_local = np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])
    start, direction = to_local @ (origin - solid.center), rays @ to_local.T
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (-solid.size / 2 - start) / direction, (solid.size / 2 - start) / direction
    entry, leave = np.minimum(first, second).max(axis=1), np.maximum(first, second).min(axis=1)
    return np.where((entry <= leave) & (entry > 0), entry, np.inf)


def lidar_result(sweep: Sweep, settings: LidarSettings | None = None) -> LidarResult:
    """The sweep in base_link, split into ground and rest; its rows are the sweep's."""
    result = LidarPipeline(settings or LidarSettings()).process(sweep.cloud, lidar_mount())
    assert len(result.points) == len(sweep.owner)
    return result


def empty_lidar(stamp_ns: int = 0) -> LidarResult:
    """A sweep without a point."""
    cloud = PointCloud(np.zeros((0, 3), np.float32), np.zeros(0, np.float32), stamp_ns, "lidar")
    return LidarPipeline(LidarSettings()).process(cloud, lidar_mount())


# --------------------------------------------------------------------------------------------------
# Cameras


def camera_model(
    width: int = 1280,
    height: int = 720,
    focal: float = 700.0,
    D: Sequence[float] | NDArray[np.float64] = NO_DISTORTION,
    model: str = "plumb_bob",
) -> CameraModel:
    K = np.array([[focal, 0, width / 2 - 0.5], [0, focal, height / 2 - 0.5], [0, 0, 1.0]])
    return CameraModel(width, height, K, np.asarray(D, dtype=np.float64), model, "camera")


def camera_mount(
    yaw: float = 0.0, pitch: float = 0.0, position: Sequence[float] = (0.3, 0.0, 1.5)
) -> NDArray[np.float64]:
    """T_camera_base of a camera that looks along `yaw`, `pitch` downward [radians]."""
    look = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    T_base_camera = np.eye(4)
    T_base_camera[:3, :3] = np.stack([right, np.cross(look, right), look], axis=1)
    T_base_camera[:3, 3] = position
    return np.linalg.inv(T_base_camera)


def corners_of(thing: Thing) -> NDArray[np.float64]:
    """The eight corners of a thing's true box."""
    cosine, sine = np.cos(thing.yaw), np.sin(thing.yaw)
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    return (signs * thing.size / 2) @ rotation.T + thing.center


def pinhole_pixels(
    points_base: NDArray[np.float64], camera: CameraModel, T_camera_base: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Pixels (N, 2), pixel centres at whole numbers, of points in front of a camera without distortion."""
    points = points_base @ T_camera_base[:3, :3].T + T_camera_base[:3, 3]
    return points[:, :2] / points[:, 2:] * camera.K[[0, 1], [0, 1]] + camera.K[:2, 2]


def box_2d(thing: Thing, camera: CameraModel, T_camera_base: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 2D box x1 y1 x2 y2 round a thing's solids, edges of the image at 0 and width."""
    parts = [Thing("", s.center, s.size, s.yaw, ()) for s in thing.solids]
    pixels = pinhole_pixels(np.concatenate([corners_of(part) for part in parts]), camera, T_camera_base) + 0.5
    return np.clip(np.concatenate([pixels.min(0), pixels.max(0)]), 0, [camera.width, camera.height] * 2)


def detections_2d(
    boxes: Sequence[Sequence[float]], class_names: Sequence[str], scores: Sequence[float] | None = None
) -> Detections2D:
    """Detections of these boxes; a score that is not given falls from 0.9."""
    names = tuple(dict.fromkeys(class_names)) or ("car",)
    given = scores if scores is not None else [0.9 - 0.01 * i for i in range(len(boxes))]
    return Detections2D(
        np.asarray(boxes, np.float32).reshape(-1, 4),
        np.asarray(given, np.float32),
        np.array([names.index(name) for name in class_names], np.int32),
        names,
    )


def camera_result(
    camera: str = "front",
    stamp_ns: int = 0,
    detections: Detections2D | None = None,
    size: tuple[int, int] = (1280, 720),
    **more: object,
) -> CameraResult:
    """A result (size: width, height) without a segmentation or lanes unless given."""
    values: dict[str, object] = {"segmentation": None, "segmentation_classes": (), "lanes": ()}
    return CameraResult(
        camera, stamp_ns, camera, *size, detections or detections_2d([], []), **{**values, **more}
    )


def view_of(
    things: Sequence[Thing],
    name: str = "front",
    camera: CameraModel | None = None,
    T_camera_base: NDArray[np.float64] | None = None,
    scores: Sequence[float] | None = None,
) -> CameraView:
    """A camera whose detector found the 2D box of each of these things."""
    camera = camera or camera_model()
    T = camera_mount() if T_camera_base is None else T_camera_base
    boxes = [box_2d(thing, camera, T) for thing in things]
    found = detections_2d(boxes, [thing.class_name for thing in things], scores)
    return CameraView(camera_result(name, 0, found, (camera.width, camera.height)), camera, T)


# --------------------------------------------------------------------------------------------------
# Images and 3D boxes


def image_of(data: NDArray[np.generic], encoding: str, width: int, height: int, stamp_ns: int = 1) -> Image:
    return Image(data, encoding, width, height, stamp_ns, "camera")


def bgr_image(pixels: NDArray[np.uint8], stamp_ns: int = 1) -> Image:
    return image_of(pixels, "bgr8", pixels.shape[1], pixels.shape[0], stamp_ns)


def detection_3d(
    x: float,
    y: float,
    class_name: str = "car",
    *,
    size: Sequence[float] = (4.3, 1.85, 1.6),
    yaw: float = 0.0,
    sigma: float = 0.1,
    score: float = 0.9,
) -> Detection3D:
    """A box on the ground with the same uncertainty `sigma` [m] along every axis."""
    return Detection3D(
        class_id=0,
        class_name=class_name,
        score=score,
        center=np.array([x, y, size[2] / 2]),
        size=np.array(size, float),
        yaw=yaw,
        covariance=np.eye(6) * sigma**2,
        cameras=("front",),
        point_indices=np.arange(10),
    )


def angle_between(a: float, b: float) -> float:
    """Smallest angle between two directions whose sense does not matter [radians]."""
    return abs((a - b + np.pi / 2) % np.pi - np.pi / 2)
