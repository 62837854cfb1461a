"""Every parameter of the perception node: type, range, description, and whether it may change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from avperception.pipeline.detector import DetectorSettings
from avperception.pipeline.fusion import FusionSettings
from avperception.pipeline.lidar import LidarSettings
from avperception.pipeline.tracker import TrackerSettings


@dataclass(frozen=True)
class Spec:
    """One parameter: its default tells the type; `allowed` lists the values of a string."""

    name: str
    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] = ()
    read_only: bool = True

    def descriptor(self) -> ParameterDescriptor:
        """Make what `ros2 param describe` shows."""
        descriptor = ParameterDescriptor(description=self.description, read_only=self.read_only)
        if self.allowed:
            descriptor.additional_constraints = "one of: " + ", ".join(self.allowed)
        if self.low is not None and self.high is not None:
            if isinstance(self.default, int):
                descriptor.integer_range = [IntegerRange(from_value=int(self.low), to_value=int(self.high))]
            else:
                descriptor.floating_point_range = [
                    FloatingPointRange(from_value=float(self.low), to_value=float(self.high))
                ]
        return descriptor


def _live(name: str, default: float, low: float, high: float, description: str) -> Spec:
    return Spec(name, default, description, low, high, read_only=False)


NODE = (
    Spec("autostart", True, "Configure and activate by itself at start."),
    Spec("backend", "auto", "Runtime of the networks.", allowed=("auto", "tensorrt", "onnxruntime")),
    Spec("cameras", ["front"], "Names of the cameras, each a part of its topics' names."),
    Spec("target_frame", "base_link", "Frame of the 3D results; z up (REP-103), on the ground (REP-105)."),
    Spec(
        "detector.model", "yolox_nano", "Detector: the name of a model card or the path of one, '' for none."
    ),
    Spec("detector.precision", "fp32", "Precision of its engine.", allowed=("fp32", "fp16", "int8")),
    Spec("segmenter.model", "twinlitenet", "Segmenter: the name of a model card or its path, '' for none."),
    Spec("segmenter.precision", "fp32", "Precision of its engine.", allowed=("fp32", "fp16", "int8")),
    Spec(
        "engine_policy",
        "strict",
        "What to do about an engine that does not fit this machine: refuse it, or build it again.",
        allowed=("strict", "rebuild"),
    ),
    Spec("threads", 0, "CPU threads a network uses, 0 for all cores.", 0, 256),
    Spec(
        "fusion.fixed_frame",
        "odom",
        "Frame in which /tf tells how the vehicle moves: what it moves between an image and the sweep is "
        "taken out, '' for never.",
    ),
    Spec("sync.max_interval", 0.05, "Longest time between a sweep and an image of one set [s].", 0.0, 1.0),
    Spec("sync.timeout", 0.1, "Longest time a sweep waits for images or its transform [s].", 0.0, 10.0),
)

LIVE = (
    _live("detector.score_threshold", 0.3, 0.0, 1.0, "Least score of a detection."),
    _live("detector.nms_threshold", 0.45, 0.0, 1.0, "Overlap (IoU) above which two boxes are one object."),
    _live("lidar.min_range", 1.0, 0.0, 500.0, "Points nearer to the sensor are left out [m]."),
    _live("lidar.max_range", 100.0, 0.0, 500.0, "Points farther from the sensor are left out [m]."),
    _live("lidar.ground_clearance", 0.2, 0.01, 2.0, "Points this little above the ground belong to it [m]."),
    _live("lidar.max_slope", 0.08, 0.0, 1.0, "Steepest ground, rise over run."),
    Spec("fusion.min_points", 5, "Lidar points a 3D box must have.", 1, 1000, read_only=False),
    _live("fusion.cluster_reach", 0.4, 0.05, 5.0, "Gap between points of one object, near the sensor [m]."),
    _live("fusion.cluster_reach_per_metre", 0.012, 0.0, 0.2, "Growth of that gap with distance [m/m]."),
    _live(
        "fusion.merge_fraction",
        0.8,
        0.0,
        5.0,
        "Boxes nearer than this part of the smaller width are one object.",
    ),
    _live("fusion.lane_distance", 60.0, 1.0, 300.0, "Lane lines are followed this far from the camera [m]."),
    _live("tracker.max_age", 1.0, 0.0, 60.0, "A track not seen for this long ends [s]."),
    _live("tracker.acceleration", 3.0, 0.01, 100.0, "How quickly objects change their speed [m/s^2]."),
)


def camera_specs(camera: str) -> tuple[Spec, ...]:
    """Give the parameters of one camera."""
    return (
        Spec(f"{camera}.transport", "raw", "How its images come.", allowed=("raw", "compressed")),
        Spec(
            f"{camera}.rectified",
            False,
            "Its images are rectified already: camera_info's P is used, not K and D.",
        ),
        Spec(
            f"{camera}.rectify",
            False,
            "The networks see its images rectified, for a wide lens that bends straight lines; it needs "
            "camera_info, and results stay in pixels of the original image.",
        ),
        Spec(
            f"{camera}.time_offset",
            0.0,
            "Added to its stamps to get the time when the images were taken [s].",
            -10.0,
            10.0,
        ),
    )


class NodeParameters:
    """Declares the parameters on a node and keeps the settings of the stages up to date.

    The settings objects are shared with the stages, which read them at each frame. Declaring raises
    rclpy's InvalidParameterValueException when a value given at start is out of its range.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self.detector = DetectorSettings()
        self.lidar = LidarSettings()
        self.fusion = FusionSettings()
        self.tracker = TrackerSettings()
        self._allowed: dict[str, tuple[str, ...]] = {}
        self._applies_later = True
        self._all_declared = False
        # Before the declarations, so that a value given at start is judged like one set later.
        node.add_on_set_parameters_callback(self._judge)
        self._declare(NODE + LIVE)
        self.cameras: tuple[str, ...] = tuple(name for name in self["cameras"] if name)
        for camera in self.cameras:
            self._declare(camera_specs(camera))
        for spec in LIVE:
            self._apply(spec.name, self[spec.name])
        self._all_declared = True
        if self.lidar.min_range >= self.lidar.max_range:
            low, high = self.lidar.min_range, self.lidar.max_range
            raise InvalidParameterValueException("lidar.min_range", low, _crossed(low, high))
        # Humble has no callback after the fact; there the last judge applies the values.
        self._applies_later = hasattr(node, "add_post_set_parameters_callback")
        if self._applies_later:
            node.add_post_set_parameters_callback(self._apply_all)

    def __getitem__(self, name: str) -> Any:
        return self._node.get_parameter(name).value

    def nanoseconds(self, name: str) -> int:
        """Give a parameter in seconds as whole nanoseconds."""
        return round(float(self[name]) * 1e9)

    @property
    def lane_distance(self) -> float:
        return float(self["fusion.lane_distance"])

    def _declare(self, specs: tuple[Spec, ...]) -> None:
        for spec in specs:
            self._allowed[spec.name] = spec.allowed
            self._node.declare_parameter(spec.name, spec.default, spec.descriptor())

    def _judge(self, parameters: list[Parameter]) -> SetParametersResult:
        """Refuse what ranges cannot say: a value not in a list, and limits that cross."""
        values = {parameter.name: parameter.value for parameter in parameters}
        for name, value in values.items():
            allowed = self._allowed.get(name)
            if allowed and value not in allowed:
                return SetParametersResult(
                    successful=False, reason=f"{name} is {value!r}, it must be one of {', '.join(allowed)}"
                )
        low = values.get("lidar.min_range", self.lidar.min_range)
        high = values.get("lidar.max_range", self.lidar.max_range)
        # While declaring, the other limit may still be to come.
        if self._all_declared and low >= high:
            return SetParametersResult(successful=False, reason=_crossed(low, high))
        problem = _camera_problem(values.get("cameras") or [])
        if problem:
            return SetParametersResult(successful=False, reason=problem)
        if not self._applies_later:
            self._apply_all(parameters)
        return SetParametersResult(successful=True)

    def _apply_all(self, parameters: list[Parameter]) -> None:
        for parameter in parameters:
            self._apply(parameter.name, parameter.value)

    def _apply(self, name: str, value: Any) -> None:
        section, _, key = name.partition(".")
        settings = getattr(self, section, None)
        if key and settings is not None and hasattr(settings, key):
            setattr(settings, key, value)


def _crossed(low: float, high: float) -> str:
    return f"lidar.min_range {low} must be below lidar.max_range {high}"


def _camera_problem(names: Sequence[str]) -> str | None:
    """Say what is wrong with the names of cameras; each is a part of topics and parameters."""
    for name in names:
        if name and not re.fullmatch(r"[A-Za-z]\w*(/[A-Za-z]\w*)*", name, re.ASCII):
            return f"cameras has {name!r}: a name is a letter, then letters, digits and underscores"
    if len(set(names)) != len(names):
        return "cameras names one camera twice"
    return None
