"""A recording through the perception node into a view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from avperception.bags import BagReader
from avperception.pipeline.fusion import CameraView
from avperception.pipeline.lanes import lane_on_ground
from avperception.replay.plan import plan_replay
from avperception.replay.player import Frame, Player
from avperception.replay.replay import Progress, ReplayOptions, ViewFinder, start_driver
from avperception.types import CameraResult, Detection3D, FusedResult, Image
from avperception.viewing.entities import object_colors
from avperception.viewing.scene_view import SceneView

LANE_DISTANCE = 60.0
"""How far from the camera lane lines are laid on the ground [m]."""


def view_recording(
    path: Path,
    open_view: Callable[[Sequence[str]], SceneView],
    options: ReplayOptions,
    progress: Progress,
) -> int:
    """Play a recording in lock step and show each frame; give how many there were.

    `open_view` makes the view of the recording's cameras. Raises what `replay` does.
    """
    with ExitStack() as stack:
        bag = stack.enter_context(BagReader(path))
        plan = plan_replay(bag.topics, options.points)
        # No window opens, and no file is made, for a node that does not start.
        driver = stack.enter_context(start_driver(plan, options))
        view = stack.enter_context(open_view([camera.name for camera in plan.cameras]))
        player = Player(bag, plan, driver)
        for step in player.steps():
            for frame in step.frames:
                show_frame(view, frame, driver.views_of(frame.fused))
            progress(player.frames_out, player.frame_count)
        return player.frames_out


def show_frame(view: SceneView, frame: Frame, find_view: ViewFinder) -> None:
    """Show one frame's images with their results, and the sweep that was fused with them."""
    detections = frame.fused.detections if frame.fused else ()
    for result, image in frame.images:
        _show_camera(view, result, image, find_view(result), detections)
    if frame.fused:
        _show_fused(view, frame.fused)


def _show_camera(
    view: SceneView,
    result: CameraResult,
    image: Image,
    calibrated: CameraView | None,
    detections: Sequence[Detection3D],
) -> None:
    name, stamp_ns = result.camera, result.stamp_ns
    view.show_image(name, image)
    view.show_boxes_2d(name, result.detections, stamp_ns)
    if result.segmentation is not None:
        view.show_mask(name, result.segmentation, result.segmentation_classes, stamp_ns)
    view.show_lanes_2d(name, result.lanes, stamp_ns)
    if calibrated is None:
        return
    T_target_camera = np.linalg.inv(calibrated.T_camera_target).astype(np.float64)
    view.show_camera(name, calibrated.camera, T_target_camera, stamp_ns)
    view.show_wire_frames(name, detections, calibrated.camera, calibrated.T_camera_target, stamp_ns)
    lanes = [lane_on_ground(lane, calibrated.camera, T_target_camera, LANE_DISTANCE) for lane in result.lanes]
    view.show_lanes_3d(name, [lane for lane in lanes if len(lane) >= 2], stamp_ns)


def _show_fused(view: SceneView, fused: FusedResult) -> None:
    lidar = fused.lidar
    objects = [(d.point_indices, d.class_name) for d in fused.detections]
    colors = object_colors(len(lidar.points), lidar.is_ground, objects)
    view.show_points(lidar.points, colors, fused.stamp_ns)
    view.show_objects(fused.detections, fused.stamp_ns)
