from collections.abc import Iterator

import pytest
from rcl_interfaces.msg import ParameterType
from rig import Rig

BOOL, INTEGER, DOUBLE, STRING, STRINGS = (
    ParameterType.PARAMETER_BOOL,
    ParameterType.PARAMETER_INTEGER,
    ParameterType.PARAMETER_DOUBLE,
    ParameterType.PARAMETER_STRING,
    ParameterType.PARAMETER_STRING_ARRAY,
)

DECLARED = {
    "autostart": (BOOL, True),
    "backend": (STRING, "auto"),
    "cameras": (STRINGS, ["front"]),
    "front.transport": (STRING, "raw"),
    "front.time_offset": (DOUBLE, 0.0),
    "target_frame": (STRING, "base_link"),
    "detector.model": (STRING, ""),
    "detector.precision": (STRING, "fp32"),
    "detector.score_threshold": (DOUBLE, 0.3),
    "detector.nms_threshold": (DOUBLE, 0.45),
    "segmenter.model": (STRING, ""),
    "segmenter.precision": (STRING, "fp32"),
    "engine_policy": (STRING, "strict"),
    "sync.max_interval": (DOUBLE, 0.05),
    "sync.timeout": (DOUBLE, 0.1),
    "lidar.min_range": (DOUBLE, 1.0),
    "lidar.max_range": (DOUBLE, 100.0),
    "lidar.ground_clearance": (DOUBLE, 0.2),
    "lidar.max_slope": (DOUBLE, 0.08),
    "fusion.min_points": (INTEGER, 5),
    "fusion.merge_fraction": (DOUBLE, 0.8),
    "tracker.max_age": (DOUBLE, 1.0),
    "tracker.acceleration": (DOUBLE, 3.0),
}
"""Those of the interface with their types; the networks are left out in these tests."""

CHOICES = {
    "backend": ("auto", "tensorrt", "onnxruntime"),
    "engine_policy": ("strict", "rebuild"),
    "front.transport": ("raw", "compressed"),
    "detector.precision": ("fp32", "fp16", "int8"),
}

LIVE = {
    "detector.score_threshold": 0.6,
    "detector.nms_threshold": 0.7,
    "lidar.min_range": 2.5,
    "lidar.max_range": 55.0,
    "fusion.min_points": 9,
    "tracker.max_age": 2.0,
}


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made.start()


@pytest.mark.parametrize("name", DECLARED)
def test_every_parameter_explains_itself(rig: Rig, name: str):
    type_, default = DECLARED[name]
    descriptor = rig.describe(name)
    assert descriptor.type == type_
    assert len(descriptor.description) > 10
    assert rig.node.get_parameter(name).value == default
    assert descriptor.read_only == (
        name not in LIVE and not name.startswith(("lidar.", "fusion.", "tracker."))
    )
    if type_ == DOUBLE:
        (limits,) = descriptor.floating_point_range
        assert limits.from_value < limits.to_value
    if name in CHOICES:
        assert all(choice in descriptor.additional_constraints for choice in CHOICES[name])


def test_no_parameter_of_the_node_is_without_a_description(rig: Rig):
    ours = [name for name in rig.node._parameters if not name.startswith(("qos_overrides.", "use_sim_time"))]
    silent = [name for name in ours if not rig.describe(name).description]
    assert [name for name in silent if name != "start_type_description_service"] == []


@pytest.mark.parametrize(("name", "value"), LIVE.items())
def test_thresholds_can_be_set_while_it_runs(rig: Rig, name: str, value: float):
    result = rig.set(**{name.replace(".", "__"): value})
    assert result.successful, result.reason
    assert rig.node.get_parameter(name).value == value
    section, _, key = name.partition(".")
    assert getattr(getattr(rig.node._settings, section), key) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("detector.score_threshold", 1.01),
        ("detector.score_threshold", -0.1),
        ("detector.nms_threshold", 2.0),
        ("lidar.max_range", 501.0),
        ("fusion.min_points", 0),
        ("tracker.acceleration", 0.0),
    ],
)
def test_a_value_out_of_its_range_is_refused_while_it_runs(rig: Rig, name: str, value: float):
    before = rig.node.get_parameter(name).value
    result = rig.set(**{name.replace(".", "__"): value})
    assert not result.successful and name in result.reason
    assert rig.node.get_parameter(name).value == before


@pytest.mark.parametrize("name", ["detector.score_threshold", "lidar.min_range", "lidar.max_range"])
def test_nan_is_in_no_range(rig: Rig, name: str):
    result = rig.set(**{name.replace(".", "__"): float("nan")})
    assert not result.successful


@pytest.mark.parametrize(
    ("name", "value"),
    [("cameras", ["rear"]), ("target_frame", "map"), ("backend", "tensorrt"), ("sync.timeout", 1.0)],
)
def test_a_value_that_cannot_change_is_refused_with_the_reason(rig: Rig, name: str, value: object):
    result = rig.set(**{name.replace(".", "__"): value})
    assert not result.successful
    assert name in result.reason or "read-only" in result.reason


def test_a_value_of_another_type_is_refused(rig: Rig):
    result = rig.set(detector__score_threshold="high")
    assert not result.successful and "type" in result.reason


@pytest.mark.parametrize(
    "values",
    [
        {"lidar__min_range": 200.0},
        {"lidar__max_range": 0.5},
        {"lidar__min_range": 60.0, "lidar__max_range": 50.0},
        {"lidar__min_range": 50.0, "lidar__max_range": 50.0},
    ],
)
def test_a_range_without_inside_is_refused_with_the_reason(rig: Rig, values: dict[str, float]):
    assert rig.set(lidar__min_range=1.0, lidar__max_range=100.0).successful
    result = rig.set(**values)
    assert not result.successful
    assert "lidar.min_range" in result.reason and "lidar.max_range" in result.reason
    assert rig.node.get_parameter("lidar.min_range").value == 1.0
    assert rig.node.get_parameter("lidar.max_range").value == 100.0


def test_both_limits_can_move_past_the_old_ones_at_once(rig: Rig):
    assert rig.set(lidar__min_range=1.0, lidar__max_range=100.0).successful
    assert rig.set(lidar__min_range=150.0, lidar__max_range=300.0).successful
    assert rig.set(lidar__min_range=1.0, lidar__max_range=100.0).successful
