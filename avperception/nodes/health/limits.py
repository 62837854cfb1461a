"""The parameters `diagnostics.*`: from which value on `/diagnostics` warns, and from which it is an error."""

from __future__ import annotations

from collections.abc import Sequence

from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from avperception.nodes.diagnostics import Level, Problem
from avperception.nodes.parameters import Spec

_NO_LIMIT = "0 for no limit"


def _pair(name: str, warn: float, error: float, high: float, what: str, unit: str) -> tuple[Spec, Spec]:
    """A value that is a warning above one limit and an error above a second one."""
    return (
        _live(f"{name}_warn", warn, high, f"WARN above this {what} [{unit}], {_NO_LIMIT}."),
        _live(f"{name}_error", error, high, f"ERROR above this {what} [{unit}], {_NO_LIMIT}."),
    )


def _live(name: str, default: float, high: float, description: str) -> Spec:
    return Spec(f"diagnostics.{name}", default, description, 0.0, high, read_only=False)


PAIRS = ("silence", "age", "latency", "loss", "gpu_temperature", "gpu_memory", "drift")

SPECS = (
    *_pair("silence", 1.0, 10.0, 3600.0, "time without a message of a camera or the lidar", "s"),
    *_pair(
        "age", 1.0, 5.0, 3600.0, "age of a result when it is published, by its stamp, 99th percentile", "s"
    ),
    *_pair("latency", 0.5, 2.0, 60.0, "time from a message to its result, 99th percentile", "s"),
    _live("loss_warn", 0.0, 1.0, "WARN when more than this share of the messages of a second is lost."),
    _live("loss_error", 0.5, 1.0, "ERROR when more than this share of the messages of a second is lost."),
    *_pair("gpu_temperature", 85.0, 95.0, 150.0, "temperature of the GPU", "°C"),
    *_pair("gpu_memory", 0.9, 0.97, 1.0, "used share of the GPU's memory", "1"),
    *_pair("drift", 0.7, 1.5, 45.0, "angle between the lidar's objects and a camera's boxes, median", "deg"),
    _live("lidar_min_rate", 0.0, 1000.0, f"WARN below this rate of sweeps [Hz], {_NO_LIMIT}."),
    _live(
        "coverage_period",
        0.5,
        3600.0,
        "Time between the images of a camera that are compared with what an INT8 network was calibrated "
        "with [s], 0 for never.",
    ),
)


def camera_specs(camera: str) -> tuple[Spec, ...]:
    """Give the limits of one camera."""
    text = f"WARN below this rate of its images [Hz], {_NO_LIMIT}."
    return (Spec(f"{camera}.min_rate", 0.0, text, 0.0, 1000.0, read_only=False),)


class Limits:
    """The limits as they are set at the moment; they may change while the node runs.

    Declaring raises rclpy's InvalidParameterValueException for a value out of its range, and where an
    error's limit lies below its warning's.
    """

    def __init__(self, node: Node, cameras: Sequence[str]) -> None:
        self._node = node
        for spec in (*SPECS, *(spec for camera in cameras for spec in camera_specs(camera))):
            node.declare_parameter(spec.name, spec.default, spec.descriptor())
        problem = self._crossed({})
        if problem:
            raise InvalidParameterValueException(*problem)
        node.add_on_set_parameters_callback(self._judge)

    def __getitem__(self, name: str) -> float:
        return float(self._node.get_parameter(name).value)

    def above(self, name: str, value: float, text: str) -> list[Problem]:
        """Compare a value with the pair `diagnostics.NAME_warn` and `_error`."""
        for level, suffix in ((Level.ERROR, "error"), (Level.WARN, "warn")):
            limit = self[f"diagnostics.{name}_{suffix}"]
            if limit and value > limit:
                return [Problem(level, text)]
        return []

    def _judge(self, parameters: list[Parameter]) -> SetParametersResult:
        problem = self._crossed({parameter.name: parameter.value for parameter in parameters})
        return SetParametersResult(successful=problem is None, reason=problem[2] if problem else "")

    def _crossed(self, new: dict[str, object]) -> tuple[str, float, str] | None:
        """The first pair whose limits would be the wrong way round: name, value and what is wrong."""
        for pair in PAIRS:
            warn, error = (f"diagnostics.{pair}_{suffix}" for suffix in ("warn", "error"))
            low, high = (value if isinstance(value := new.get(n), float) else self[n] for n in (warn, error))
            if high and low > high:
                return error, high, f"{error} {high} must not be below {warn} {low}"
        return None
