"""The sensors on the ego vehicle: cameras of any model and a spinning lidar, each where it is mounted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avperception.errors import ConfigurationError
from avperception.types import CameraModel, Float64

CAMERA_NAMES = ("front", "left", "right")
"""The cameras of the default rig, in the order in which they are added."""

LIDAR_FRAME = "lidar"
LIDAR_BEAMS = (32, 64)
"""Beam counts that a lidar of the default rig can have."""

_DISTORTION_LENGTHS = {"plumb_bob": 5, "rational_polynomial": 8, "equidistant": 4}
_LARGEST = 8192  # pixels a side


@dataclass(frozen=True)
class Camera:
    """A camera called `name`; `T_base_camera` (4, 4) maps its optical frame to base_link."""

    name: str
    model: CameraModel
    T_base_camera: Float64


@dataclass(frozen=True)
class Lidar:
    """A spinning lidar: `elevations` (beams,) rad, rising, `columns` azimuth steps a turn, counter-clockwise.

    A turn is centred on the stamp: it starts behind, half a turn before, and looks ahead at the stamp.
    Ranges in metres; `range_noise` is their standard deviation. `T_base_lidar` maps its frame to base_link;
    the lidar stands upright. If `compensated`, the driver has taken the ego vehicle's own motion during the
    turn out of the points, as those of KITTI are; if not, each is where the lidar was at its own moment.
    """

    elevations: Float64
    columns: int
    min_range: float
    max_range: float
    range_noise: float
    T_base_lidar: Float64
    compensated: bool = True
    frame_id: str = LIDAR_FRAME

    @classmethod
    def spinning(
        cls, beams: int = 64, *, columns: int = 1800, min_range: float = 1.0, max_range: float = 100.0
    ) -> Lidar:
        """A roof lidar, 1.9 m above the ground, whose beams reach from 22 degrees down to 10 up."""
        T_base_lidar = np.eye(4)
        T_base_lidar[:3, 3] = (0.3, 0.0, 1.9)
        elevations = np.radians(np.linspace(-22.0, 10.0, max(beams, 1)))
        return cls(elevations, columns, min_range, max_range, 0.02, T_base_lidar)


@dataclass(frozen=True)
class Rig:
    """All sensors of the ego vehicle; `lidar` may be None."""

    cameras: tuple[Camera, ...]
    lidar: Lidar | None

    def camera(self, name: str) -> Camera:
        """The camera of that name; ConfigurationError lists those there are."""
        for camera in self.cameras:
            if camera.name == name:
                return camera
        known = ", ".join(camera.name for camera in self.cameras) or "none"
        raise ConfigurationError(f"the rig has no camera '{name}': it has {known}")


def default_rig(cameras: int = 3, beams: int = 64) -> Rig:
    """Front, left and right cameras (the first `cameras` of them), 960x544, and a lidar.

    The left camera has a wide-angle lens with plumb_bob distortion, the others are pinholes.
    Raises ConfigurationError for a count that the rig has not.
    """
    if not 1 <= cameras <= len(CAMERA_NAMES):
        raise ConfigurationError(f"{cameras} cameras are not possible: choose 1 to {len(CAMERA_NAMES)}")
    if beams not in LIDAR_BEAMS:
        known = " or ".join(map(str, LIDAR_BEAMS))
        raise ConfigurationError(f"a lidar with {beams} beams is not possible: choose {known}")
    mounts = (
        mounted("front", pinhole("front", 960, 544, 68.0), (1.5, 0.0, 1.45), yaw=0.0, pitch=0.02),
        mounted("left", _wide_angle("left"), (1.2, 0.5, 1.45), yaw=np.radians(62.0), pitch=0.05),
        mounted(
            "right", pinhole("right", 960, 544, 84.0), (1.2, -0.5, 1.45), yaw=-np.radians(62.0), pitch=0.05
        ),
    )
    return Rig(mounts[:cameras], Lidar.spinning(beams))


def pinhole(name: str, width: int, height: int, horizontal_view: float) -> CameraModel:
    """A camera without distortion whose image is `horizontal_view` degrees wide."""
    focal = 0.5 * width / np.tan(np.radians(0.5 * horizontal_view))
    K = np.array([[focal, 0, 0.5 * (width - 1)], [0, focal, 0.5 * (height - 1)], [0, 0, 1.0]])
    return CameraModel(width, height, K, np.zeros(5), "plumb_bob", optical_frame(name))


def mounted(
    name: str,
    model: CameraModel,
    position: tuple[float, float, float],
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
) -> Camera:
    """A camera at `position` (m, base_link), turned left by `yaw` and down by `pitch` rad from ahead."""
    c, s = np.cos(yaw), np.sin(yaw)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    c, s = np.cos(pitch), np.sin(pitch)
    tilt = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    optical = np.array([[0, 0, 1.0], [-1, 0, 0], [0, -1, 0]])  # columns: image right, down, forward
    T = np.eye(4)
    T[:3, :3] = turn @ tilt @ optical
    T[:3, 3] = position
    return Camera(name, model, T)


def optical_frame(name: str) -> str:
    """The tf frame of a camera."""
    return f"{name}_camera_optical"


def check_rig(rig: Rig) -> None:
    """Raise ConfigurationError, naming the sensor and what is wrong, unless every sensor can exist."""
    names = [camera.name for camera in rig.cameras]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"camera {name}: there are {names.count(name)} of that name: rename one")
    for camera in rig.cameras:
        _check_camera(camera)
    if rig.lidar is not None:
        _check_lidar(rig.lidar)


def _check_camera(camera: Camera) -> None:
    model, who = camera.model, f"camera {camera.name}"
    if not (0 < model.width <= _LARGEST and 0 < model.height <= _LARGEST):
        raise ConfigurationError(
            f"{who}: an image of {model.width}x{model.height} is not possible: give 1 to {_LARGEST} pixels"
        )
    if (
        np.shape(model.K) != (3, 3)
        or not np.isfinite(model.K).all()
        or model.K[0, 0] <= 0
        or model.K[1, 1] <= 0
    ):
        raise ConfigurationError(f"{who}: K needs two positive focal lengths: {np.asarray(model.K).tolist()}")
    if not np.array_equal(model.K[[1, 2, 2, 2], [0, 0, 1, 2]], [0, 0, 0, 1]):
        raise ConfigurationError(f"{who}: K must be upper triangular with 1 at the end: {model.K.tolist()}")
    expected = _DISTORTION_LENGTHS.get(model.distortion_model)
    if expected is None:
        known = ", ".join(_DISTORTION_LENGTHS)
        raise ConfigurationError(
            f"{who}: distortion model '{model.distortion_model}' is not known: use {known}"
        )
    if len(model.D) not in (0, expected) or not np.isfinite(model.D).all():
        raise ConfigurationError(
            f"{who}: {model.distortion_model} takes {expected} finite numbers, not {list(model.D)}"
        )
    rotation = camera.T_base_camera[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6) or np.linalg.det(rotation) < 0:
        raise ConfigurationError(f"{who}: T_base_camera is not a rotation and a translation")
    if camera.T_base_camera[2, 3] <= 0.2:
        raise ConfigurationError(
            f"{who}: it is mounted {camera.T_base_camera[2, 3]:g} m high: put it above 0.2 m"
        )


def _check_lidar(lidar: Lidar) -> None:
    if not 0 <= lidar.min_range < lidar.max_range:
        raise ConfigurationError(
            f"lidar: a range from {lidar.min_range:g} to {lidar.max_range:g} m is not possible: "
            "both must be positive and the second larger"
        )
    if lidar.columns < 4 or len(lidar.elevations) < 1 or np.any(np.abs(lidar.elevations) >= np.pi / 2):
        raise ConfigurationError(
            f"lidar: {len(lidar.elevations)} beams by {lidar.columns} columns are not possible: "
            "give at least 1 by 4, with elevations within 90 degrees"
        )
    if np.any(np.diff(lidar.elevations) <= 0):
        raise ConfigurationError("lidar: the elevations of its beams must rise")
    if lidar.range_noise < 0 or not np.isfinite(lidar.range_noise):
        raise ConfigurationError(
            f"lidar: a range noise of {lidar.range_noise:g} m is not possible: give 0 or more"
        )
    if not np.allclose(lidar.T_base_lidar[2, :3], (0, 0, 1)):
        raise ConfigurationError("lidar: it must stand upright: its T_base_lidar may turn it about z only")
    if lidar.T_base_lidar[2, 3] <= 0.2:
        raise ConfigurationError(
            f"lidar: it is mounted {lidar.T_base_lidar[2, 3]:g} m high: put it above 0.2 m"
        )


def _wide_angle(name: str) -> CameraModel:
    K = np.array([[566.0, 0, 482.3], [0, 565.2, 269.8], [0, 0, 1.0]])
    D = np.array([-0.155, 0.034, 0.0006, -0.0004, -0.0031])
    return CameraModel(960, 544, K, D, "plumb_bob", optical_frame(name))
