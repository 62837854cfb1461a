"""Which topics of a recording are which of the node's inputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from avperception.bags import BagTopic
from avperception.errors import BagError

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
POINTS = "sensor_msgs/msg/PointCloud2"
TRANSFORMS = "tf2_msgs/msg/TFMessage"
DETECTIONS_3D = "vision_msgs/msg/Detection3DArray"

IMAGE_NAMES = ("image_raw", "image", "image_color", "image_rect", "image_rect_color")
"""Last names that image_transport and image_pipeline give to a camera's images, in order of preference."""


@dataclass(frozen=True)
class CameraTopics:
    """One camera of a recording."""

    name: str
    image: str
    compressed: bool
    info: str | None


@dataclass(frozen=True)
class ReplayPlan:
    """The recording's topics by what they are to the node; `truth` is what it is compared with."""

    cameras: tuple[CameraTopics, ...]
    points: str | None
    transforms: tuple[str, ...]
    truth: str | None

    @property
    def topics(self) -> set[str]:
        """All topics that are played."""
        found = {camera.image for camera in self.cameras} | set(self.transforms)
        found |= {camera.info for camera in self.cameras if camera.info}
        return found | ({self.points} if self.points else set())

    @property
    def frame_topics(self) -> set[str]:
        """The topics whose every message is a frame: the sweeps, or the images where there is no lidar."""
        return {self.points} if self.points else {camera.image for camera in self.cameras}


def plan_replay(topics: Iterable[BagTopic], points: str | None = None) -> ReplayPlan:
    """Find cameras, lidar, transforms and ground truth among a recording's topics.

    A camera is an image topic named as image_transport does (`CAM/image_raw`, also compressed), with
    `CAM/camera_info` beside it. `points` chooses the lidar where there are several. Raises BagError
    when there is nothing to replay or the choice is not clear.
    """
    types = {topic.name: topic.msgtype for topic in topics}
    cameras = _cameras(types)
    lidar = _choose_points(types, points)
    if not cameras and not lidar:
        raise BagError(
            "the recording has no camera images and no point cloud: its topics are "
            + (", ".join(f"{name} ({msgtype})" for name, msgtype in sorted(types.items())) or "none")
        )
    return ReplayPlan(
        cameras=cameras,
        points=lidar,
        transforms=tuple(name for name in ("/tf_static", "/tf") if types.get(name) == TRANSFORMS),
        truth="/ground_truth" if types.get("/ground_truth") == DETECTIONS_3D else None,
    )


def _cameras(types: dict[str, str]) -> tuple[CameraTopics, ...]:
    found: dict[str, tuple[int, str, bool]] = {}
    for topic, msgtype in sorted(types.items()):
        compressed = msgtype == COMPRESSED and topic.endswith("/compressed")
        base = topic.removesuffix("/compressed") if compressed else topic
        namespace, _, last = base.rpartition("/")
        if (msgtype != IMAGE and not compressed) or last not in IMAGE_NAMES or "/ground_truth" in base:
            continue
        rank = IMAGE_NAMES.index(last) + (len(IMAGE_NAMES) if compressed else 0)
        if namespace not in found or rank < found[namespace][0]:
            found[namespace] = (rank, topic, compressed)
    names = _names(list(found))
    cameras = []
    for namespace, (_, topic, compressed) in found.items():
        info = f"{namespace}/camera_info"
        cameras.append(
            CameraTopics(
                names[namespace], topic, compressed, info if types.get(info) == CAMERA_INFO else None
            )
        )
    return tuple(cameras)


def _names(namespaces: list[str]) -> dict[str, str]:
    """Name each camera by the last part of its namespace, or by all of it where that is not unique."""
    last = {namespace: namespace.rpartition("/")[2] or "camera" for namespace in namespaces}
    unique = len(set(last.values())) == len(last)
    return last if unique else {n: n.strip("/").replace("/", "_") or "camera" for n in namespaces}


def _choose_points(types: dict[str, str], wanted: str | None) -> str | None:
    clouds = sorted(name for name, msgtype in types.items() if msgtype == POINTS)
    if wanted is not None:
        if wanted not in clouds:
            raise BagError(
                f"{wanted} is no point cloud of the recording: it has {', '.join(clouds) or 'none'}"
            )
        return wanted
    if len(clouds) > 1:
        raise BagError(
            f"the recording has {len(clouds)} point clouds: choose by --points one of {', '.join(clouds)}"
        )
    return clouds[0] if clouds else None
