"""Values that cross a module border.

Conventions, everywhere in the package:

- times are integer nanoseconds (`stamp_ns`), lengths metres, angles radians;
- images are `(height, width)` or `(height, width, channels)`;
- 2D boxes are `x1 y1 x2 y2` in pixels of the original image whose left and top edges are at 0 and whose
  right and bottom edges are at width and height; points projected by a camera matrix follow OpenCV, where
  the centre of the first pixel is at (0, 0): half a pixel lies between the two;
- 3D boxes lie in a right-handed frame with z up (REP-103): `size` is length, width, height along the
  box's own x, y, z axes, `yaw` turns x towards y;
- `T_a_b` is the 4x4 float64 matrix that maps coordinates in frame `b` to coordinates in frame `a`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = Any
"""A NumPy array on the host or a CuPy array on the device; both speak the same array interface."""

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int32 = NDArray[np.int32]
UInt8 = NDArray[np.uint8]
Bool = NDArray[np.bool_]

UNLABELLED = 255
"""Class id of a pixel that no network has labelled."""


@dataclass(frozen=True)
class Image:
    """One camera image, a view into the message it came in.

    `data` is uint8 (uint16 for mono16): `(height, width)` or `(height, width, channels)`, rows may be
    padded (strided); planar YUV (nv12, nv21) is `(height * 3 / 2, width)`. `encoding` is a name of
    `sensor_msgs/image_encodings.hpp`.
    """

    data: NDArray[Any]
    encoding: str
    width: int
    height: int
    stamp_ns: int
    frame_id: str


_NO_PIXELS = np.zeros(0, np.uint8)


def without_pixels(image: Image) -> Image:
    """Give what an image's header says, its `data` empty."""
    return Image(_NO_PIXELS, image.encoding, image.width, image.height, image.stamp_ns, image.frame_id)


@dataclass(frozen=True)
class PointCloud:
    """One lidar sweep in the sensor's own frame: `points_lidar` (N, 3) float32, `intensity` (N,) float32.

    All points are finite. `invalid` says how many were left out because they were not.
    """

    points_lidar: Float32
    intensity: Float32
    stamp_ns: int
    frame_id: str
    invalid: int = 0


@dataclass(frozen=True)
class CameraModel:
    """A calibrated camera (REP-104) of the image as it is delivered: ROI and binning are applied.

    `K` is the (3, 3) float64 intrinsic matrix, `D` the float64 distortion coefficients of
    `distortion_model`: `plumb_bob` (5), `rational_polynomial` (8) or `equidistant` (4); an empty `D`
    is a pinhole. The camera's frame is optical: x right, y down, z forward (REP-103).
    """

    width: int
    height: int
    K: Float64
    D: Float64
    distortion_model: str
    frame_id: str


@dataclass(frozen=True)
class Detections2D:
    """Objects in one image: `boxes` (N, 4) float32 pixels, `scores` (N,) float32, `class_ids` (N,) int32.

    Sorted by falling score. `class_names[class_id]` is the name of a class. `overflow` counts the
    candidates that were left out before overlapping boxes were, the weakest, for there were too many.
    """

    boxes: Float32
    scores: Float32
    class_ids: Int32
    class_names: tuple[str, ...]
    overflow: int = 0

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class CameraDetections:
    """The objects in one image, in pixels of the original image: all that fusion takes of a camera."""

    camera: str
    stamp_ns: int
    frame_id: str
    width: int
    height: int
    detections: Detections2D


@dataclass(frozen=True)
class CameraResult(CameraDetections):
    """Everything one image gave: detections, class mask and lane lines, in pixels of the original image.

    `segmentation` is (height, width) uint8 class ids of `segmentation_classes` or None without a
    segmenter; each lane line is an (M, 2) float32 polyline from near to far. `stage_ms` holds the
    time each stage took.
    """

    segmentation: UInt8 | None
    segmentation_classes: tuple[str, ...]
    lanes: tuple[Float32, ...]
    stage_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LidarResult:
    """A sweep brought into the target frame, cropped to the range limits and split into ground and rest.

    `points` (N, 3) float32 and `ground_height` (N,) float32, the height of the ground below each
    point, in the target frame; `is_ground` (N,) bool; `T_target_lidar` is the transform used.
    """

    stamp_ns: int
    frame_id: str
    points: Float32
    intensity: Float32
    is_ground: Bool
    ground_height: Float32
    T_target_lidar: Float64
    stage_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Detection3D:
    """One object as a metric box in the target frame.

    `center` (3,) and `size` (3,) in metres, `yaw` in radians, `covariance` (6, 6) over x y z roll pitch
    yaw, as geometry_msgs/PoseWithCovariance has it. `cameras` saw it; `point_count` lidar points
    support it; `point_indices` are their rows in the LidarResult. `track_id` is 0 until it is tracked.
    """

    class_id: int
    class_name: str
    score: float
    center: Float64
    size: Float64
    yaw: float
    covariance: Float64
    cameras: tuple[str, ...]
    point_indices: NDArray[np.int64]
    track_id: int = 0
    velocity: Float64 = field(default_factory=lambda: np.zeros(3))

    @property
    def point_count(self) -> int:
        return len(self.point_indices)

    def tracked(self, track_id: int, velocity: Float64) -> Detection3D:
        """The same box under the id of its track, with the track's velocity (3,) in m/s."""
        return replace(self, track_id=track_id, velocity=velocity)


@dataclass(frozen=True)
class FusedResult:
    """Everything one sweep gave, at the sweep's stamp and in the target frame.

    `missing` names the cameras that had not delivered an image for this sweep in time.
    """

    stamp_ns: int
    frame_id: str
    detections: tuple[Detection3D, ...]
    lidar: LidarResult
    cameras: tuple[CameraDetections, ...]
    missing: tuple[str, ...]
    stage_ms: dict[str, float] = field(default_factory=dict)
