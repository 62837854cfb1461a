"""The visualizer node: draws the results of a perception node, in a process of its own, while one looks."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from sensor_msgs.msg import PointCloud2
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from avperception.errors import MessageError, TransformError
from avperception.nodes import qos
from avperception.nodes.clocks import steady_clock
from avperception.nodes.conversions.coloured_clouds import coloured_cloud_message
from avperception.nodes.conversions.headers import stamp_ns
from avperception.nodes.conversions.markers import detection_markers
from avperception.nodes.conversions.results import DetectedObjects, detected_objects_from_message
from avperception.nodes.on_demand import OnDemand, Wanted
from avperception.nodes.overlay_channel import OverlayChannel
from avperception.nodes.overlay_sight import CameraForm, CameraSight
from avperception.nodes.process import run_node
from avperception.nodes.source import Source
from avperception.nodes.transforms import TransformTree, make_transform_tree

INTEREST_PERIOD_S = 0.25
"""How often it looks whether somebody looks (Humble has no event for it)."""

SWEEPS_KEPT = 5

NICENESS = 5
"""What is drawn for people yields to what perceives."""


class Visualizer(Node):
    """Draws the topics of a perception node for people.

    `~/debug/CAM/overlay` for each camera, `~/markers` with boxes, tracks and velocities, and
    `~/points_coloured`, the sweep in the colours of the classes.

    The parameter `perception` names that node, the sensors' images are those of its inputs: the same
    remappings serve both. Nothing is subscribed to, drawn or sent while nobody subscribes.
    """

    def __init__(self, *, parameter_overrides: Sequence[Parameter] | None = None) -> None:
        super().__init__("visualizer", parameter_overrides=list(parameter_overrides or ()))
        perception = self._declare("perception", "perception", "Name of the perception node.")
        cameras = self._declare(
            "cameras", ["front"], "Names of the cameras, as the perception node has them."
        )
        rate = self._declare_rate()
        self._source = Source("objects", self.get_logger())
        self._transforms: TransformTree = make_transform_tree()
        self._latest: deque[DetectedObjects] = deque(maxlen=SWEEPS_KEPT)
        self._markers = self._output(MarkerArray, "~/markers")
        self._cloud = self._output(PointCloud2, "~/points_coloured")
        fixed_frame = self._declare(
            "fusion.fixed_frame", "odom", "Frame in which /tf tells how the vehicle moves, '' for none."
        )
        forms = [self._form(name) for name in cameras if name]
        self.overlays = [
            OverlayChannel(self, form, perception, rate, CameraSight(form, self._transforms, fixed_frame))
            for form in forms
        ]
        output = f"{perception}/output"
        self._objects = OnDemand(
            self, (Wanted(Detection3DArray, f"{output}/detections_3d", self._on_objects, qos.result),)
        )
        self._points = OnDemand(
            self, (Wanted(PointCloud2, f"{output}/points_labelled", self._on_points, qos.result),)
        )
        self._around = OnDemand(
            self,
            (
                Wanted(MarkerArray, f"{output}/lanes", self._on_lanes, qos.result),
                Wanted(TFMessage, "/tf_static", self._on_static, qos.static_transforms),
                Wanted(TFMessage, "/tf", self._on_moving, qos.transforms),
            ),
        )
        steady = steady_clock()
        self.create_timer(INTEREST_PERIOD_S, self._follow_interest, clock=steady)

    @property
    def is_resting(self) -> bool:
        """True while nobody looks and nothing is subscribed to."""
        return not (self._objects.is_on or self._points.is_on or self._around.is_on)

    def destroy_node(self) -> None:
        """End the threads before the node goes."""
        for overlay in self.overlays:
            overlay.stop()
        super().destroy_node()

    def _output(self, message_type: type[Any], topic: str) -> Publisher:
        return self.create_publisher(
            message_type, topic, qos.result(), qos_overriding_options=qos.overridable()
        )

    def _declare(self, name: str, default: Any, description: str) -> Any:
        descriptor = ParameterDescriptor(description=description, read_only=True)
        return self.declare_parameter(name, default, descriptor).value

    def _declare_rate(self) -> float:
        descriptor = ParameterDescriptor(
            description="Overlays a second at most, of each camera [Hz].",
            read_only=True,
            floating_point_range=[FloatingPointRange(from_value=0.1, to_value=100.0)],
        )
        return float(self.declare_parameter("overlay_rate", 10.0, descriptor).value)

    def _form(self, camera: str) -> CameraForm:
        transport = self._declare(
            f"{camera}.transport", "raw", "How its images come; one of: raw, compressed."
        )
        is_rectified = self._declare(
            f"{camera}.rectified", False, "Its images are rectified already: camera_info's P is used."
        )
        offset_s = self._declare(
            f"{camera}.time_offset",
            0.0,
            "Added to its stamps to get the time when the images were taken [s].",
        )
        return CameraForm(camera, transport == "compressed", bool(is_rectified), round(1e9 * offset_s))

    def _follow_interest(self) -> None:
        for overlay in self.overlays:
            overlay.follow_interest()
        shows_overlays = any(overlay.is_wanted for overlay in self.overlays)
        shows_points = bool(self._cloud.get_subscription_count())
        shows_markers = bool(self._markers.get_subscription_count())
        self._around.switch(shows_overlays)
        self._points.switch(shows_points)
        self._objects.switch(shows_overlays or shows_points or shows_markers)

    def _on_objects(self, message: Detection3DArray) -> None:
        try:
            objects = detected_objects_from_message(message)
        except MessageError as error:
            self._source.drop(error.reason, str(error))
            return
        self._latest.append(objects)
        if self._markers.get_subscription_count():
            self._markers.publish(detection_markers(objects))
        for overlay in self.overlays:
            if overlay.is_wanted:
                overlay.add_objects(objects)

    def _on_points(self, message: PointCloud2) -> None:
        """Colour a sweep; the node sends its objects before its points."""
        try:
            stamp = stamp_ns(message.header)
            found = [objects.detections for objects in self._latest if objects.stamp_ns == stamp]
            self._cloud.publish(coloured_cloud_message(message, found[-1] if found else ()))
        except MessageError as error:
            self._source.drop(error.reason, str(error))

    def _on_lanes(self, message: MarkerArray) -> None:
        for overlay in self.overlays:
            overlay.add_lanes(message)

    def _on_static(self, message: TFMessage) -> None:
        self._on_transforms(message, static=True)

    def _on_moving(self, message: TFMessage) -> None:
        self._on_transforms(message, static=False)

    def _on_transforms(self, message: TFMessage, static: bool) -> None:
        for transform in message.transforms:
            try:
                self._transforms.add(transform, static)
            except TransformError as error:
                self._source.drop("bad_transform", str(error))


def main(args: list[str] | None = None) -> None:
    """Run the node until Ctrl-C or a shutdown; exit code 2 when it cannot start."""
    with suppress(OSError):
        os.nice(NICENESS)
    run_node("visualizer", Visualizer, args=args)
