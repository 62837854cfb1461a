"""Where a camera was at its own time, seen from the vehicle at the sweep's: what it moved between counts."""

from __future__ import annotations

from rclpy.impl.rcutils_logger import RcutilsLogger

from avperception.errors import TransformError
from avperception.nodes.source import Source
from avperception.nodes.transforms import TransformTimeError, TransformTree
from avperception.types import Float64


class EgoMotion:
    """Looks up places through a frame that does not move, where /tf tells how the vehicle moves in it.

    Without such odometry a camera is taken to stand in the target frame as it did at its own time, which
    is said once; odometry that does not reach to the time is noted as `late_odometry`.
    """

    def __init__(
        self,
        transforms: TransformTree,
        target_frame: str,
        fixed_frame: str,
        source: Source,
        logger: RcutilsLogger,
    ) -> None:
        self._transforms = transforms
        self._target_frame = target_frame
        self._fixed_frame = fixed_frame
        self._source = source
        self._logger = logger
        self._was_told = False

    def is_known(self, camera_frame: str, camera_ns: int, sweep_ns: int) -> bool:
        """Tell whether all is there that `T_camera_target` can use; False while more may still come."""
        try:
            self._transforms.lookup(camera_frame, self._target_frame, camera_ns)
        except TransformError:
            return False
        try:
            self._compensated(camera_frame, camera_ns, sweep_ns)
        except TransformTimeError:
            return False
        except TransformError:
            pass  # no odometry
        return True

    def T_camera_target(self, camera_frame: str, camera_ns: int, sweep_ns: int) -> Float64:
        """Give the (4, 4) transform from the target frame at the sweep's time to the camera at the image's.

        Raises TransformError where the camera's place in the target frame is not known.
        """
        T_uncompensated = self._transforms.lookup(camera_frame, self._target_frame, camera_ns)
        try:
            return self._compensated(camera_frame, camera_ns, sweep_ns)
        except TransformTimeError as error:
            self._source.note("late_odometry", f"fused without the vehicle's motion: {error}")
        except TransformError as error:
            self._tell(str(error))
        return T_uncompensated

    def _compensated(self, camera_frame: str, camera_ns: int, sweep_ns: int) -> Float64:
        if not self._fixed_frame or camera_ns == sweep_ns:
            return self._transforms.lookup(camera_frame, self._target_frame, camera_ns)
        return self._transforms.lookup_between(
            camera_frame, camera_ns, self._target_frame, sweep_ns, self._fixed_frame
        )

    def _tell(self, text: str) -> None:
        if not self._was_told:
            self._was_told = True
            self._logger.info(
                f"without odometry, what the vehicle moves between an image and a sweep is left out: {text}"
            )
