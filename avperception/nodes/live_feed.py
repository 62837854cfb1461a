"""Follows a running perception node and shows what it takes and gives in a view."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, PointCloud2
from sensor_msgs.msg import Image as ImageMessage
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection2DArray, Detection3DArray, LabelInfo
from visualization_msgs.msg import MarkerArray

from avperception.errors import MessageError, TransformError
from avperception.nodes import qos
from avperception.nodes.conversions.clouds import LABELLED_DTYPE
from avperception.nodes.conversions.headers import stamp_ns
from avperception.nodes.conversions.images import image_from_message
from avperception.nodes.conversions.results import (
    DetectedObjects,
    classes_from_message,
    detected_objects_from_message,
    detections_2d_from_message,
    lanes_from_message,
)
from avperception.nodes.live_calibrations import LiveCalibrations
from avperception.nodes.transforms import TransformTree, make_transform_tree
from avperception.types import CameraModel
from avperception.viewing.entities import object_colors
from avperception.viewing.scene_view import SceneView

SEARCH_PERIOD_S = 1.0
IMAGES_KEPT = 60

_MEDIA_TYPES = {"jpeg": "image/jpeg", "jpg": "image/jpeg", "png": "image/png"}


class LiveFeed:
    """Subscribes to the topics that the perception node itself has, under whatever names.

    A camera is known by its results: they carry the stamp and frame of their image. At most `rate`
    images a second of each camera are shown [Hz], and the results of those.
    """

    def __init__(self, node: Node, view: SceneView, perception: str, rate: float) -> None:
        self._node = node
        self._view = view
        namespace, _, self._name = f"/{perception.lstrip('/')}".rpartition("/")
        self._namespace = namespace or "/"
        self._period_ns = round(1e9 / rate)
        self._transforms: TransformTree = make_transform_tree()
        self._subscribed: set[str] = set()
        self._cameras: dict[str, str] = {}
        self._calibrations = LiveCalibrations(node, f"{namespace}/{self._name}")
        self._classes: dict[str, tuple[str, ...]] = {}
        self._shown: defaultdict[str, deque[int]] = defaultdict(lambda: deque(maxlen=IMAGES_KEPT))
        self._target_frame: str | None = None
        self._tracks: dict[int, str] = {}
        self._newest_ns = 0
        self._next_search_s = 0.0
        node.create_subscription(
            TFMessage, "/tf_static", lambda m: self._on_transforms(m, True), qos.static_transforms()
        )
        node.create_subscription(TFMessage, "/tf", lambda m: self._on_transforms(m, False), qos.transforms())

    @property
    def is_connected(self) -> bool:
        """True once the perception node was found."""
        return bool(self._subscribed)

    def search(self) -> None:
        """Look for the perception node's topics, at most once a second; new ones are subscribed to."""
        if time.monotonic() < self._next_search_s:
            return
        self._next_search_s = time.monotonic() + SEARCH_PERIOD_S
        by_node = (self._name, self._namespace)
        try:
            inputs = self._node.get_subscriber_names_and_types_by_node(*by_node)
            outputs = self._node.get_publisher_names_and_types_by_node(*by_node)
        except Exception:  # rclpy's error for a node that is not there has moved between distributions
            return
        for topic, types in inputs:
            self._take_input(topic, types[0].rpartition("/")[2])
        for topic, types in outputs:
            self._take_output(topic, types[0].rpartition("/")[2])
        self._calibrations.ask()

    def _take_input(self, topic: str, kind: str) -> None:
        if kind == "Image":
            self._subscribe(ImageMessage, topic, self._on_image, qos.sensor())
        elif kind == "CompressedImage":
            self._subscribe(CompressedImage, topic, self._on_compressed, qos.sensor())
        elif kind == "CameraInfo":
            self._subscribe(CameraInfo, topic, self._calibrations.add, qos.sensor())

    def _take_output(self, topic: str, kind: str) -> None:
        camera = topic.rpartition("/output/")[2].rpartition("/")[0]
        if kind == "Detection2DArray":
            self._view.add_cameras([camera])
            self._calibrations.expect(camera)
            self._subscribe(Detection2DArray, topic, lambda m: self._on_boxes(camera, m))
        elif kind == "Image":
            self._subscribe(ImageMessage, topic, lambda m: self._on_mask(camera, m))
        elif kind == "LabelInfo":
            self._subscribe(LabelInfo, topic, lambda m: self._on_labels(camera, m), qos.latched())
        elif kind == "Detection3DArray":
            self._subscribe(Detection3DArray, topic, self._on_objects)
        elif kind == "PointCloud2":
            self._subscribe(PointCloud2, topic, self._on_points)
        elif kind == "MarkerArray" and topic.endswith("lanes"):
            self._subscribe(MarkerArray, topic, self._on_lanes)

    def _subscribe(
        self,
        message_type: type[Any],
        topic: str,
        callback: Callable[[Any], None],
        profile: QoSProfile | None = None,
    ) -> None:
        if topic in self._subscribed:
            return
        self._subscribed.add(topic)

        def take(message: Any) -> None:
            try:
                callback(message)
            except (MessageError, TransformError):
                return  # the perception node itself counts and reports what cannot be used

        self._node.create_subscription(message_type, topic, take, profile or qos.result())

    # -- what comes in ----------------------------------------------------------------------------

    def _on_transforms(self, message: TFMessage, static: bool) -> None:
        for transform in message.transforms:
            try:
                self._transforms.add(transform, static)
            except TransformError:
                continue

    def _on_image(self, message: ImageMessage) -> None:
        if camera := self._due(message):
            self._view.show_image(camera, image_from_message(message))

    def _on_compressed(self, message: CompressedImage) -> None:
        kind = message.format.lower().replace(";", " ").split()
        media_type = next((_MEDIA_TYPES[word] for word in reversed(kind) if word in _MEDIA_TYPES), None)
        if media_type and (camera := self._due(message)):
            self._view.show_jpeg(camera, bytes(message.data), media_type, stamp_ns(message.header))

    def _due(self, message: ImageMessage | CompressedImage) -> str | None:
        """The camera of an image that is to be shown."""
        camera = self._cameras.get(message.header.frame_id)
        if camera is None:
            return None
        stamp, shown = stamp_ns(message.header), self._shown[camera]
        if shown and 0 <= stamp - shown[-1] < self._period_ns:
            return None
        shown.append(stamp)
        self._place_camera(camera, message.header.frame_id, stamp)
        return camera

    def _place_camera(self, camera: str, frame_id: str, stamp: int) -> None:
        model = self._calibrations.model(camera, frame_id)
        if model is None or self._target_frame is None:
            return
        try:
            T_target_camera = self._transforms.lookup(self._target_frame, frame_id, stamp)
        except TransformError:
            return
        self._view.show_camera(camera, model, T_target_camera, stamp)

    # -- what goes out ----------------------------------------------------------------------------

    def _on_boxes(self, camera: str, message: Detection2DArray) -> None:
        self._cameras[message.header.frame_id] = camera
        stamp = stamp_ns(message.header)
        if stamp in self._shown[camera]:
            self._view.show_boxes_2d(camera, detections_2d_from_message(message), stamp)

    def _on_mask(self, camera: str, message: ImageMessage) -> None:
        stamp = stamp_ns(message.header)
        classes = self._classes.get(camera)
        if classes and stamp in self._shown[camera]:
            self._view.show_mask(camera, image_from_message(message).data, classes, stamp)

    def _on_labels(self, camera: str, message: LabelInfo) -> None:
        self._classes[camera] = classes_from_message(message)

    def _on_objects(self, message: Detection3DArray) -> None:
        objects = detected_objects_from_message(message)
        self._target_frame = objects.frame_id
        if objects.stamp_ns < self._newest_ns:  # a recording that begins again
            self._transforms.restart(objects.stamp_ns)
        self._newest_ns = objects.stamp_ns
        self._tracks = {d.track_id & 0xFFFF: d.class_name for d in objects.detections if d.track_id}
        self._view.show_objects(objects.detections, objects.stamp_ns)
        for frame_id, camera in self._cameras.items():
            if model := self._calibrations.model(camera, frame_id):
                self._show_wire_frames(camera, model, frame_id, objects)

    def _show_wire_frames(
        self, camera: str, model: CameraModel, frame_id: str, objects: DetectedObjects
    ) -> None:
        stamp = objects.stamp_ns
        try:
            T_camera_target = self._transforms.lookup(frame_id, objects.frame_id, stamp)
        except TransformError:
            return
        self._view.show_wire_frames(camera, objects.detections, model, T_camera_target, stamp)

    def _on_points(self, message: PointCloud2) -> None:
        if message.point_step != LABELLED_DTYPE.itemsize:
            return
        records = np.frombuffer(message.data, LABELLED_DTYPE)
        points = np.stack([records[axis] for axis in "xyz"], axis=1)
        objects = [(records["instance"] == track, name) for track, name in self._tracks.items()]
        colors = object_colors(len(points), None, objects)
        self._view.show_points(points, colors, stamp_ns(message.header))

    def _on_lanes(self, message: MarkerArray) -> None:
        for camera in self._cameras.values():
            if found := lanes_from_message(message, camera):
                self._view.show_lanes_3d(camera, found.lines, found.stamp_ns)
