"""Where one camera was and how it maps points to pixels, for each of its results."""

from __future__ import annotations

from collections import OrderedDict

from sensor_msgs.msg import CameraInfo

from avperception.errors import MessageError, TransformError
from avperception.nodes.conversions.cameras import camera_model_from_message
from avperception.nodes.conversions.headers import stamp_ns
from avperception.nodes.ego_motion import EgoMotion
from avperception.nodes.parameters import NodeParameters
from avperception.nodes.source import Source
from avperception.pipeline.fusion import CameraView
from avperception.types import CameraDetections, CameraModel, Image

CALIBRATIONS_KEPT = 16


class CameraViews:
    """Keeps a camera's calibrations by their stamps; the newest counts where an image has none of its own.

    Messages that cannot be used are counted in `source`.
    """

    def __init__(
        self, camera: str, parameters: NodeParameters, ego_motion: EgoMotion, source: Source
    ) -> None:
        self.source = source
        self._ego_motion = ego_motion
        self._offset_ns = parameters.nanoseconds(f"{camera}.time_offset")
        self._is_rectified = bool(parameters[f"{camera}.rectified"])
        self._models: OrderedDict[int, CameraModel] = OrderedDict()
        self._latest: CameraModel | None = None

    def add(self, message: CameraInfo) -> None:
        """Take a calibration."""
        self.source.receive()
        try:
            model = camera_model_from_message(message, self._is_rectified)
            self._models[stamp_ns(message.header)] = model
        except MessageError as error:
            self.source.drop(error.reason, str(error))
            return
        self._latest = model
        while len(self._models) > CALIBRATIONS_KEPT:
            self._models.popitem(last=False)

    def is_placed(self, result: CameraDetections, sweep_ns: int) -> bool:
        """Tell whether calibration, transforms and odometry for a result are known, or still to come."""
        model = self._model(result.stamp_ns)
        if model is None:
            return False
        frame_id = result.frame_id or model.frame_id
        return self._ego_motion.is_known(frame_id, result.stamp_ns + self._offset_ns, sweep_ns)

    def calibration(self, image: Image) -> CameraModel:
        """Give the calibration for an image; raises MessageError `no_camera_info` while there is none."""
        model = self._model(image.stamp_ns)
        if model is None:
            raise MessageError(
                "no_camera_info", "no camera_info has come yet: without it an image cannot be rectified"
            )
        return model

    def view(self, result: CameraDetections, sweep_ns: int | None = None) -> CameraView:
        """Give the calibration and place of the camera for one result.

        The place is the camera's at the image's time, in the target frame at the sweep's; at the image's
        without one. Raises MessageError `no_camera_info`, `camera_info_size` or `no_transform`.
        """
        model = self._model(result.stamp_ns)
        if model is None:
            raise MessageError("no_camera_info", "no camera_info has come yet: no 3D from this camera")
        if (model.width, model.height) != (result.width, result.height):
            raise MessageError(
                "camera_info_size",
                f"camera_info is for {model.width}x{model.height} pixels, ROI and binning applied, the image "
                f"has {result.width}x{result.height}: let both come from one driver, scale K with the image",
            )
        taken_ns = result.stamp_ns + self._offset_ns
        try:
            T_camera_target = self._ego_motion.T_camera_target(
                result.frame_id or model.frame_id, taken_ns, taken_ns if sweep_ns is None else sweep_ns
            )
        except TransformError as error:
            raise MessageError("no_transform", str(error)) from error
        return CameraView(result, model, T_camera_target)

    def _model(self, stamp_ns: int) -> CameraModel | None:
        return self._models.get(stamp_ns, self._latest)
