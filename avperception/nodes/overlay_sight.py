"""How one camera sees what lies in other frames, for what is drawn over its images."""

from __future__ import annotations

from dataclasses import dataclass

from sensor_msgs.msg import CameraInfo

from avperception.errors import TransformError
from avperception.nodes.conversions.cameras import camera_model_from_message
from avperception.nodes.transforms import TransformTree
from avperception.types import CameraModel, Float64, Image


@dataclass(frozen=True)
class CameraForm:
    """How a camera's images come, as the parameters of the perception node say.

    `time_offset_ns` is added to their stamps to get the time when they were taken.
    """

    name: str
    is_compressed: bool = False
    is_rectified: bool = False
    time_offset_ns: int = 0


class CameraSight:
    """Keeps a camera's newest calibration and finds the camera's place at the time of an image.

    What the vehicle moved in `fixed_frame` since what is to be drawn was seen is taken out where /tf tells
    it, as the perception node does between an image and a sweep; '' for never.
    """

    def __init__(self, form: CameraForm, transforms: TransformTree, fixed_frame: str) -> None:
        self._form = form
        self._transforms = transforms
        self._fixed_frame = fixed_frame
        self._model: CameraModel | None = None

    def add(self, message: CameraInfo) -> None:
        """Take a calibration; raises MessageError for one that cannot be used."""
        self._model = camera_model_from_message(message, self._form.is_rectified)

    def taken_ns(self, stamp_ns: int) -> int:
        """When the image with this stamp was taken."""
        return stamp_ns + self._form.time_offset_ns

    def of(self, image: Image, frame_id: str, time_ns: int) -> tuple[CameraModel, Float64] | None:
        """Give the calibration for an image and T_camera_frame (4, 4), of a frame as it was at `time_ns`.

        None where they are not known.
        """
        model = self._model
        if model is None or (model.width, model.height) != (image.width, image.height):
            return None
        camera_frame, taken_ns = image.frame_id or model.frame_id, self.taken_ns(image.stamp_ns)
        try:
            return model, self._T_camera_frame(camera_frame, taken_ns, frame_id, time_ns)
        except TransformError:
            return None

    def _T_camera_frame(self, camera_frame: str, taken_ns: int, frame_id: str, time_ns: int) -> Float64:
        if self._fixed_frame and taken_ns != time_ns:
            try:
                return self._transforms.lookup_between(
                    camera_frame, taken_ns, frame_id, time_ns, self._fixed_frame
                )
            except TransformError:
                pass  # no odometry
        return self._transforms.lookup(camera_frame, frame_id, taken_ns)
