"""A scene shown in Rerun, or written into a file for it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from avperception.errors import BagError, ConfigurationError
from avperception.types import (
    CameraModel,
    Detection3D,
    Detections2D,
    Float32,
    Float64,
    Image,
    UInt8,
)
from avperception.viewing import entities

APPLICATION = "avperception"
SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")
TIMELINE = "stamp"
EYE, LOOKS_AT = (-16.0, 0.0, 10.0), (14.0, 0.0, 0.0)
"""Where one looks from, behind and above the vehicle, and where to [m, target frame]."""


class SceneView:
    """Images, points, boxes and lanes on one timeline, that of their stamps; use it as a context manager.

    Without `save` a window opens; with it all goes into that file, which `rerun FILE.rrd` shows. Raises
    ConfigurationError where rerun-sdk is not installed or no window can open, BagError if the file
    cannot be written.
    """

    def __init__(self, cameras: Sequence[str], save: Path | None = None) -> None:
        self._rr = import_rerun()
        self._cameras: list[str] = []
        self._sizes: dict[str, str] = {}
        self._save = save
        self._stream: Any = self._rr.RecordingStream(APPLICATION)
        # One timeline is enough, and the same recording gives the same file.
        self._stream.set_log_time_enabled(False)
        self._stream.set_log_tick_enabled(False)
        self._open()
        self._stream.log("world", self._rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        self.add_cameras(cameras)

    def __enter__(self) -> SceneView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Send what is left and close the file."""
        self._stream.flush()
        self._stream.disconnect()

    def add_cameras(self, cameras: Sequence[str]) -> None:
        """Give each of these cameras its place in the window."""
        new = [camera for camera in cameras if camera not in self._cameras]
        if new or not self._cameras:
            self._cameras += new
            self._stream.send_blueprint(self._blueprint())

    def show_image(self, camera: str, image: Image) -> None:
        """Show a camera's image."""
        entity = entities.image_entity(self._rr, image)
        self._log_picture(image.stamp_ns, f"{_place(camera)}/image", f"{image.width}x{image.height}", entity)

    def show_jpeg(self, camera: str, data: bytes, media_type: str, stamp_ns: int) -> None:
        """Show a camera's image that is compressed already."""
        entity = self._rr.EncodedImage(contents=data, media_type=media_type, draw_order=0)
        self._log_picture(stamp_ns, f"{_place(camera)}/image", "compressed", entity)

    def show_boxes_2d(self, camera: str, detections: Detections2D, stamp_ns: int) -> None:
        """Show the objects in a camera's image."""
        entity = entities.boxes_2d_entity(self._rr, detections)
        self._log(stamp_ns, f"{_place(camera)}/boxes", entity)

    def show_mask(self, camera: str, mask: UInt8, classes: Sequence[str], stamp_ns: int) -> None:
        """Show the classes of a camera's pixels."""
        entity = entities.mask_entity(self._rr, mask, classes)
        size = f"{mask.shape[1]}x{mask.shape[0]}"
        self._log_picture(stamp_ns, f"{_place(camera)}/classes", size, entity)

    def show_lanes_2d(self, camera: str, lanes: Sequence[Float32], stamp_ns: int) -> None:
        """Show the lane lines in a camera's image."""
        self._log(stamp_ns, f"{_place(camera)}/lanes", entities.lanes_2d_entity(self._rr, lanes))

    def show_camera(self, camera: str, model: CameraModel, T_target_camera: Float64, stamp_ns: int) -> None:
        """Show where a camera is and what it sees."""
        place, pinhole = entities.camera_entities(self._rr, model, T_target_camera)
        self._log(stamp_ns, _place(camera), place, pinhole)

    def show_wire_frames(
        self,
        camera: str,
        detections: Sequence[Detection3D],
        model: CameraModel,
        T_camera_target: Float64,
        stamp_ns: int,
    ) -> None:
        """Show 3D boxes over a camera's image."""
        entity = entities.wire_frames_entity(self._rr, detections, model, T_camera_target)
        self._log(stamp_ns, f"{_place(camera)}/boxes_3d", entity)

    def show_points(self, points: Float32, colors: UInt8, stamp_ns: int) -> None:
        """Show a sweep, points (N, 3) in the target frame with their colours (N, 3)."""
        self._log(stamp_ns, "world/points", entities.points_entity(self._rr, points, colors))

    def show_objects(self, detections: Sequence[Detection3D], stamp_ns: int) -> None:
        """Show 3D boxes and velocities."""
        self._log(stamp_ns, "world/objects/boxes", entities.boxes_3d_entity(self._rr, detections))
        self._log(stamp_ns, "world/objects/velocities", entities.velocities_entity(self._rr, detections))

    def show_lanes_3d(self, camera: str, lanes: Sequence[Float64], stamp_ns: int) -> None:
        """Show a camera's lane lines (K, 3) on the ground."""
        self._log(stamp_ns, f"world/lanes/{camera}", entities.lanes_3d_entity(self._rr, lanes))

    def _log(self, stamp_ns: int, path: str, *parts: entities.Entity) -> None:
        self._stream.set_time(TIMELINE, timestamp=np.datetime64(stamp_ns, "ns"))
        self._stream.log(path, *parts)

    def _log_picture(self, stamp_ns: int, path: str, size: str, entity: entities.Entity) -> None:
        """Log a compressed picture; Rerun takes those of one entity for a video, whose size cannot change."""
        before = self._sizes.get(path)
        if before not in (None, size):
            self._log(stamp_ns, f"{path}/{before}", self._rr.Clear(recursive=False))
        self._sizes[path] = size
        self._log(stamp_ns, f"{path}/{size}", entity)

    def _open(self) -> None:
        if self._save is None:
            # The viewer is a process of its own: without a screen it would end without a word to this one.
            if sys.platform == "linux" and not any(map(os.environ.get, SCREENS)):
                raise ConfigurationError(
                    "there is no screen (neither DISPLAY nor WAYLAND_DISPLAY is set): write a file with "
                    "--save FILE.rrd and see it elsewhere"
                )
            try:
                self._stream.spawn(hide_welcome_screen=True)
            except Exception as error:  # Rerun has no class of its own for it
                raise ConfigurationError(
                    f"the window of Rerun does not open ({error}): write a file with --save FILE.rrd"
                ) from error
            return
        try:
            self._save.parent.mkdir(parents=True, exist_ok=True)
            self._save.touch()
            self._stream.save(self._save)
        except Exception as error:
            raise BagError(f"cannot write {self._save}: {error}") from error

    def _blueprint(self) -> Any:
        """The scene large on the left, the cameras in a column beside it."""
        blueprint = self._rr.blueprint
        scene = blueprint.Spatial3DView(
            origin="world",
            name="scene",
            contents=["world/**", *self._flat()],
            eye_controls=blueprint.EyeControls3D(position=EYE, look_target=LOOKS_AT),
            line_grid=blueprint.LineGrid3D(spacing=5.0),
        )
        cameras = [
            blueprint.Spatial2DView(origin=f"{_place(camera)}", contents=f"{_place(camera)}/**", name=camera)
            for camera in self._cameras
        ]
        parts = [scene, blueprint.Vertical(*cameras)] if cameras else [scene]
        return blueprint.Blueprint(
            blueprint.Horizontal(*parts, column_shares=[5, 3][: len(parts)]),
            blueprint.BlueprintPanel(state="collapsed"),
            blueprint.SelectionPanel(state="collapsed"),
            blueprint.TimePanel(state="collapsed", timeline=TIMELINE),
        )

    def _flat(self) -> list[str]:
        """Rules that keep what is drawn on images out of the scene, where only the image itself helps."""
        drawn = ("boxes", "classes", "lanes", "boxes_3d")
        return [f"- {_place(camera)}/{part}/**" for camera in self._cameras for part in drawn]


def import_rerun() -> Any:
    """Give the module `rerun` with its blueprints; raises ConfigurationError if it is not installed."""
    try:
        import rerun
        import rerun.blueprint
    except ImportError as error:
        raise ConfigurationError(
            f"view needs rerun-sdk ({error}): run `pip install avperception[view]`"
        ) from error
    return rerun


def _place(camera: str) -> str:
    return f"world/cameras/{camera.replace('/', '_')}"
