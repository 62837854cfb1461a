"""The calibrations of a running perception node's cameras, read as that node reads them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo

from avperception.errors import MessageError
from avperception.nodes.conversions.cameras import camera_model_from_message
from avperception.types import CameraModel


class LiveCalibrations:
    """Keeps the newest camera_info of each frame, and asks the node which cameras' images are rectified.

    `perception` is the node's full name; its parameter `CAM.rectified` says whether K and D count, or P.
    """

    def __init__(self, node: Node, perception: str) -> None:
        self._infos: dict[str, CameraInfo] = {}
        self._is_rectified: dict[str, bool | None] = {}
        self._parameters = node.create_client(GetParameters, f"{perception}/get_parameters")

    def expect(self, camera: str) -> None:
        """The node has this camera."""
        self._is_rectified.setdefault(camera, None)

    def ask(self) -> None:
        """Ask for what is not known yet; the answer comes while the node spins."""
        asked = [camera for camera, known in self._is_rectified.items() if known is None]
        if asked and self._parameters.service_is_ready():
            request = GetParameters.Request(names=[f"{camera}.rectified" for camera in asked])
            self._parameters.call_async(request).add_done_callback(partial(self._take, asked))

    def add(self, message: CameraInfo) -> None:
        """A camera_info has come."""
        self._infos[message.header.frame_id] = message

    def model(self, camera: str, frame_id: str) -> CameraModel | None:
        """Give the calibration of a camera; None where it has not come, or cannot be used."""
        info = self._infos.get(frame_id)
        if info is None:
            return None
        try:
            return camera_model_from_message(info, bool(self._is_rectified.get(camera)))
        except MessageError:  # the node itself counts and reports it
            return None

    def _take(self, asked: Sequence[str], answer: Future) -> None:
        for camera, value in zip(asked, answer.result().values, strict=False):
            self._is_rectified[camera] = value.bool_value
