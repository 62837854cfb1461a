import pytest
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rig import Rig


@pytest.mark.parametrize(
    "parameters",
    [
        {"detector.score_threshold": 1.5},
        {"sync.timeout": -1.0},
        {"front.time_offset": 11.0},
        {"threads": 1000},
        {"lidar.min_range": 50.0, "lidar.max_range": 20.0},
        {"cameras": ["front", "front"]},
        {"cameras": ["front camera"]},
        *({name: "other"} for name in ("backend", "engine_policy", "front.transport", "detector.precision")),
    ],
    ids=lambda parameters: " ".join(parameters),
)
def test_a_start_with_a_value_out_of_its_range_is_refused(parameters: dict[str, object]):
    with pytest.raises(InvalidParameterValueException) as caught, Rig(parameters):
        pass
    assert any(name in str(caught.value) for name in parameters)


def test_a_start_with_a_value_of_another_type_is_refused():
    with (
        pytest.raises(InvalidParameterTypeException, match=r"detector\.score_threshold"),
        Rig({"detector.score_threshold": "high"}),
    ):
        pass


@pytest.mark.parametrize(("low", "high"), [(150.0, 300.0), (0.2, 0.9), (0.0, 500.0)])
def test_a_start_with_any_sound_pair_of_limits_is_accepted(low: float, high: float):
    with Rig({"lidar.min_range": low, "lidar.max_range": high}) as rig:
        assert (rig.node._settings.lidar.min_range, rig.node._settings.lidar.max_range) == (low, high)


def test_each_camera_has_its_own_parameters():
    with Rig({"cameras": ["left", "right"], "right.transport": "compressed", "left.time_offset": 0.5}) as rig:
        values = {name: rig.node.get_parameter(name).value for name in ("left.transport", "right.transport")}
        assert values == {"left.transport": "raw", "right.transport": "compressed"}
        assert rig.node.get_parameter("left.time_offset").value == 0.5
        assert not rig.node.has_parameter("front.transport")


def test_no_camera_at_all():
    with Rig({"cameras": [""]}) as rig:
        rig.start()
        assert rig.node.cameras == [] and rig.node.lidar is not None
