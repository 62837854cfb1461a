"""Files of the KITTI object detection dataset (Geiger, Lenz, Urtasun: Are we ready for autonomous driving?
The KITTI vision benchmark suite, CVPR 2012).

Frames: `lidar` is the Velodyne's (x forward, y left, z up), `camera0` the reference camera after
rectification (x right, y down, z forward), `camera` the left colour camera that took image_2.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from avperception.errors import BagError
from avperception.types import Float32, Float64, UInt8

LIDAR_HEIGHT_M = 1.73
"""Velodyne above the ground: Geiger, Lenz, Stiller, Urtasun: Vision meets robotics, IJRR 2013, figure 3."""

FOLDERS = ("image_2", "velodyne", "calib")


@dataclass(frozen=True)
class Calibration:
    """`P2` (3, 4) maps camera0 to pixels of image_2; `T_camera0_lidar` (4, 4) is R0_rect Tr_velo_to_cam."""

    P2: Float64
    T_camera0_lidar: Float64

    @property
    def K(self) -> Float64:
        """Intrinsic matrix (3, 3) of the camera of image_2, which has no distortion left."""
        return self.P2[:, :3]

    @property
    def T_camera_camera0(self) -> Float64:
        """Offset of the left colour camera from the reference camera: P2 = K [I | t]."""
        T = np.eye(4)
        T[:3, 3] = np.linalg.solve(self.K, self.P2[:, 3])
        return T

    @property
    def T_camera_lidar(self) -> Float64:
        """K [I | 0] times this is P2 R0_rect Tr_velo_to_cam."""
        return self.T_camera_camera0 @ self.T_camera0_lidar


@dataclass(frozen=True)
class Label:
    """One labelled object: `bottom` (3,) is the centre of its lower face in camera0, `size` length, width,
    height in metres, `rotation_y` the turn about camera0's y axis (down), 0 where it heads along x.
    """

    class_name: str
    bottom: Float64
    size: Float64
    rotation_y: float


class KittiDataset:
    """The folder with image_2, velodyne, calib and perhaps label_2; raises BagError if one is missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise BagError(f"{folder} is not a folder: give KITTI's training or testing folder")
        missing = [name for name in FOLDERS if not (folder / name).is_dir()]
        if missing:
            raise BagError(
                f"{folder} has no {', '.join(missing)}: give the folder that holds {', '.join(FOLDERS)}, "
                "such as kitti/training"
            )
        self.has_labels = (folder / "label_2").is_dir()
        images = {path.stem for path in (folder / "image_2").glob("*.png")}
        sweeps = {path.stem for path in (folder / "velodyne").glob("*.bin")}
        self.frames = tuple(sorted(images | sweeps))
        if not self.frames:
            raise BagError(f"{folder} holds no frame: image_2/*.png and velodyne/*.bin are expected")

    def image(self, frame: str) -> UInt8:
        """Pixels (height, width, 3) in the order blue, green, red; raises BagError."""
        content = _read_bytes(self.folder / "image_2" / f"{frame}.png")
        try:
            pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:  # an empty file
            pixels = None
        if pixels is None:
            raise BagError(f"image_2/{frame}.png is not a whole PNG image: download it again")
        return np.asarray(pixels, np.uint8)

    def sweep(self, frame: str) -> Float32:
        """Points (N, 4): x, y, z in metres in the lidar frame and reflectance; raises BagError."""
        content = _read_bytes(self.folder / "velodyne" / f"{frame}.bin")
        if not content or len(content) % 16:
            raise BagError(
                f"velodyne/{frame}.bin has {len(content)} bytes, no whole number of 16-byte points: "
                "download it again"
            )
        return np.frombuffer(content, "<f4").reshape(-1, 4)

    def calibration(self, frame: str) -> Calibration:
        """Calibration of this frame (it differs between frames); raises BagError."""
        name = f"calib/{frame}.txt"
        rows = dict(line.split(":", 1) for line in _read_text(self.folder / name).splitlines() if ":" in line)
        try:
            P2 = _matrix(rows["P2"], 3, 4)
            R0_rect, Tr = np.eye(4), np.eye(4)
            R0_rect[:3, :3] = _matrix(rows["R0_rect"], 3, 3)
            Tr[:3] = _matrix(rows["Tr_velo_to_cam"], 3, 4)
            calibration = Calibration(P2, R0_rect @ Tr)
            if not np.isfinite(calibration.T_camera_lidar).all():
                raise ValueError("numbers that are not finite")
        except KeyError as error:
            raise BagError(f"{name} has no {error.args[0]}: it is not an object calibration file") from error
        except (ValueError, np.linalg.LinAlgError) as error:
            raise BagError(f"{name} is malformed ({error}): download it again") from error
        return calibration

    def labels(self, frame: str) -> list[Label]:
        """Labelled objects without DontCare; raises BagError."""
        name = f"label_2/{frame}.txt"
        labels = []
        for number, line in enumerate(_read_text(self.folder / name).splitlines(), start=1):
            if not line.strip():
                continue
            label = _label(line, f"{name}:{number}")
            if label.class_name != "dontcare":
                labels.append(label)
        return labels


def _label(line: str, place: str) -> Label:
    kind, *columns = line.split()
    try:
        numbers = np.array([float(column) for column in columns])
    except ValueError as error:
        raise BagError(f"{place} is malformed ({error}): download it again") from error
    if len(numbers) not in (14, 15) or not np.isfinite(numbers).all():
        raise BagError(f"{place} is malformed: a class and 14 finite numbers are expected")
    height, width, length = numbers[7:10]
    return Label(kind.lower(), numbers[10:13], np.array([length, width, height]), float(numbers[13]))


def _matrix(text: str, rows: int, columns: int) -> Float64:
    return np.array([float(number) for number in text.split()]).reshape(rows, columns)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BagError(f"{path.parent.name}/{path.name} cannot be read ({error.strerror})") from error


def _read_text(path: Path) -> str:
    return _read_bytes(path).decode("utf-8", "replace")
