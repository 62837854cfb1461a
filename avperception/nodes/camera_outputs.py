"""The 2D topics of one camera."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image as ImageMessage
from vision_msgs.msg import Detection2DArray, LabelInfo
from visualization_msgs.msg import MarkerArray

from avperception.nodes import qos
from avperception.nodes.conversions.detections import detections_2d_message, label_info_message
from avperception.nodes.conversions.images import serialized_image
from avperception.nodes.conversions.markers import lane_markers
from avperception.nodes.output import Output
from avperception.nodes.parameters import NodeParameters
from avperception.pipeline.fusion import CameraView
from avperception.pipeline.lanes import lane_on_ground
from avperception.types import CameraResult, Detections2D, Float32, Image


class CameraOutputs:
    """Publishes what one camera's images give; a message that nobody subscribes to is not made."""

    def __init__(self, node: LifecycleNode, camera: str, parameters: NodeParameters) -> None:
        self._camera = camera
        self._parameters = parameters
        self._target_frame = str(parameters["target_frame"])
        self._label_info_sent = False
        self._detections = Output(node, Detection2DArray, f"~/output/{camera}/detections_2d")
        self._segmentation = Output(node, ImageMessage, f"~/output/{camera}/segmentation")
        self._label_info = Output(node, LabelInfo, f"~/output/{camera}/label_info", qos.latched())
        self._lanes = Output(node, MarkerArray, "~/output/lanes")
        self.all = (self._detections, self._segmentation, self._label_info, self._lanes)

    @property
    def wants_segmentation(self) -> bool:
        """True while somebody subscribes to what the segmenter gives: the mask or the lane lines."""
        return self._segmentation.is_wanted or self._lanes.is_wanted

    @property
    def wants_lanes(self) -> bool:
        """True while somebody subscribes to the lane lines."""
        return self._lanes.is_wanted

    def publish_detections(self, image: Image, detections: Detections2D) -> None:
        """Publish the objects in an image."""
        if self._detections.is_wanted:
            self._detections.publish(detections_2d_message(detections, image.stamp_ns, image.frame_id))

    def publish_segmentation(self, result: CameraResult) -> None:
        """Publish the class of each pixel, and once what the classes are called."""
        if result.segmentation_classes and not self._label_info_sent:
            info = label_info_message(result.segmentation_classes, result.stamp_ns, result.frame_id)
            self._label_info.publish(info)
            self._label_info_sent = True
        if result.segmentation is not None and self._segmentation.is_wanted:
            mask = serialized_image(result.segmentation, "mono8", result.stamp_ns, result.frame_id)
            self._segmentation.publish_serialized(mask)

    def publish_lanes(self, lanes: Sequence[Float32], view: CameraView) -> None:
        """Publish lane lines, (M, 2) polylines in pixels of the view's image, as they lie on the ground."""
        T_target_camera = np.linalg.inv(view.T_camera_target).astype(np.float64)
        reach = self._parameters.lane_distance
        laid = [lane_on_ground(lane, view.camera, T_target_camera, reach) for lane in lanes]
        laid = [lane for lane in laid if len(lane) >= 2]
        self._lanes.publish(lane_markers(self._camera, laid, view.result.stamp_ns, self._target_frame))

    def destroy(self) -> None:
        """Take the topics back."""
        for output in self.all:
            output.destroy()
