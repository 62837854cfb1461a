from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from rclpy.logging import get_logger
from rig import Rig

from avperception.nodes.diagnostics import Level, Problem, status
from avperception.nodes.health.limits import Limits
from avperception.nodes.health.watch import SourceWatch
from avperception.nodes.source import Source


class Clock:
    """A clock that is set by hand."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig({"cameras": ["front", "left"]}) as made:
        yield made


@pytest.fixture
def limits(rig: Rig) -> Iterator[Limits]:
    yield rig.node.health.limits
    defaults = {"latency_warn": 0.5, "latency_error": 2.0, "loss_warn": 0.0, "loss_error": 0.5}
    assert rig.set(**{f"diagnostics__{name}": value for name, value in defaults.items()}).successful


class Topic:
    """One that nobody publishes."""

    whereabouts = "/points (no publisher)"


class Traffic:
    """A source under load, watched once a second."""

    def __init__(self, limits: Limits, **options: object) -> None:
        self.clock = Clock()
        self.source = Source("front camera", get_logger("test"))
        self.extra = Source("front camera_info", get_logger("test"))
        options = {"extras": [self.extra], **options}
        self.watch = SourceWatch(self.source, "whole", limits, clock=self.clock, **options)  # type: ignore[arg-type]

    def second(self, received: int, lost: int = 0, took_ms: float = 20.0, age_s: float = 0.05) -> None:
        for number in range(received):
            self.source.receive()
            self.clock.now_s += 1 / received
            if number < lost:
                self.source.drop("overload", "too many")
            else:
                self.source.process({"whole": took_ms})
                self.watch.add_age(age_s)
        self.watch.look()

    def problems(self, min_rate_hz: float = 0.0) -> list[tuple[Level, str]]:
        return [(problem.level, problem.text) for problem in self.watch.problems(min_rate_hz)]


def test_rates_latencies_and_ages_of_the_last_ten_seconds(limits: Limits):
    traffic = Traffic(limits)
    assert traffic.watch.rates_hz() == (None, None)
    for _ in range(5):
        traffic.second(20, took_ms=900.0, age_s=0.4)
    for _ in range(12):
        traffic.second(10, lost=2)
    assert traffic.watch.rates_hz() == pytest.approx((10.0, 8.0))
    values = traffic.watch.values()
    assert (values["received"], values["processed"]) == ("220", "196")
    assert (values["rate in [Hz]"], values["rate out [Hz]"]) == ("10.0", "8.0")
    assert (values["latency p50 [ms]"], values["latency p99 [ms]"]) == ("20.00", "20.00")
    assert (values["age p50 [ms]"], values["age p99 [ms]"]) == ("50.0", "50.0")
    assert values["dropped overload"] == "24"


def test_losses_are_those_since_the_last_look(limits: Limits, rig: Rig):
    traffic = Traffic(limits)
    traffic.second(10)
    assert traffic.problems() == []
    traffic.second(10, lost=2)
    assert traffic.problems() == [(Level.WARN, "lost: 2 overload")]
    traffic.second(10, lost=6)
    assert traffic.problems() == [(Level.ERROR, "lost: 6 overload")]
    assert rig.set(diagnostics__loss_warn=0.7, diagnostics__loss_error=0.9).successful
    assert traffic.problems() == []
    traffic.second(10)
    traffic.extra.drop("bad_camera_info", "text")
    traffic.watch.look()
    assert traffic.problems() == [(Level.WARN, "lost: 1 front camera_info bad_camera_info")]
    assert traffic.watch.values()["dropped front camera_info bad_camera_info"] == "1"
    traffic.second(10)
    assert traffic.problems() == []


def test_the_last_text_of_a_reason_is_kept_and_short(limits: Limits):
    traffic = Traffic(limits)
    for text in ("the first", "the\nsecond " + 1000 * "long "):
        traffic.source.drop("overload", text)
    traffic.extra.note("odd", "one of another size")
    traffic.watch.look()
    values = traffic.watch.values()
    assert values["last overload"].startswith("the second long") and len(values["last overload"]) <= 300
    assert values["last front camera_info odd"] == "one of another size"


def test_limits_of_latency_can_be_set_while_it_runs(limits: Limits, rig: Rig):
    traffic = Traffic(limits)
    traffic.second(10, took_ms=700.0)
    assert traffic.problems() == [(Level.WARN, "results take 0.70 s (p99)")]
    assert rig.set(diagnostics__latency_error=0.6).successful
    assert traffic.problems() == [(Level.ERROR, "results take 0.70 s (p99)")]
    assert rig.set(diagnostics__latency_warn=0.0, diagnostics__latency_error=0.0).successful
    assert traffic.problems() == [], "0 is no limit"


@pytest.mark.parametrize(
    ("age_s", "level", "text"),
    [
        (0.9, None, ""),
        (1.5, Level.WARN, "results are 1.5 s old by their stamp"),
        (6.0, Level.ERROR, "results are 6.0 s old by their stamp"),
        (5.0e8, Level.ERROR, "5787 days (a recording is played with --clock and use_sim_time)"),
        (-0.9, None, ""),
        (-3.0, Level.WARN, "stamps lie 3.0 s in the future: are the clocks synchronised?"),
    ],
)
def test_the_age_of_results(limits: Limits, age_s: float, level: "Level | None", text: str):
    traffic = Traffic(limits)
    traffic.second(10, age_s=age_s)
    assert [found for found, _ in traffic.problems()] == ([level] if level else [])
    assert all(text in found for _, found in traffic.problems())


def test_a_source_slower_than_it_should_be(limits: Limits):
    traffic = Traffic(limits)
    for _ in range(3):
        traffic.second(8)
    assert traffic.problems(min_rate_hz=5.0) == []
    assert traffic.problems(min_rate_hz=10.0) == [(Level.WARN, "8.0 Hz, at least 10 Hz are wanted")]


def test_silence_since_the_start(limits: Limits):
    traffic = Traffic(limits, topic=Topic())
    silent = "nothing received yet on /points (no publisher)"
    assert traffic.problems() == [(Level.WARN, silent)]
    traffic.clock.now_s += 11
    assert traffic.problems() == [(Level.ERROR, silent)]
    traffic.watch.start()
    assert traffic.problems() == [(Level.WARN, silent)]
    traffic.source.receive()
    assert traffic.problems() == []


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"diagnostics__age_warn": 7.0}, "age_error 5.0 must not be below diagnostics.age_warn 7.0"),
        ({"diagnostics__age_error": 0.5}, "must not be below diagnostics.age_warn 1.0"),
        ({"diagnostics__loss_error": 1.5}, "out of range|not a valid value|doesn't comply|is out of"),
        ({"left__min_rate": -1.0}, "out of range|not a valid value|doesn't comply|is out of"),
    ],
)  # fmt: skip
def test_a_limit_that_cannot_be(rig: Rig, values: dict[str, float], reason: str):
    result = rig.set(**values)
    assert not result.successful
    assert any(part in result.reason for part in reason.split("|")), result.reason


def test_both_limits_move_at_once(rig: Rig):
    assert rig.set(diagnostics__drift_warn=3.0, diagnostics__drift_error=4.0).successful
    assert rig.set(diagnostics__drift_warn=0.7, diagnostics__drift_error=1.5).successful


def test_each_limit_explains_itself(rig: Rig):
    names = [name for name in rig.node._parameters if name.startswith("diagnostics.")]
    assert len(names) == 16
    for name in [*names, "front.min_rate", "left.min_rate"]:
        descriptor = rig.describe(name)
        assert len(descriptor.description) > 20 and not descriptor.read_only
        (limits,) = descriptor.floating_point_range
        assert limits.from_value == 0.0 < limits.to_value


def test_the_worst_comes_first():
    problems = [Problem(Level.WARN, "slow"), Problem(Level.ERROR, "gone"), Problem(Level.WARN, "hot")]
    made = status("lidar", problems, {"received": "3"})
    assert (made.level, made.message, made.name) == (b"\x02", "gone; slow; hot", "perception: lidar")
    assert (status("lidar", [], {}).level, status("lidar", [], {}).message) == (b"\x00", "ok")


def test_the_parameter_file_has_each_limit_with_its_default(rig: Rig, repository: Path):
    parameters = yaml.safe_load((repository / "config/perception.yaml").read_text())["/**"]["ros__parameters"]
    written = {f"diagnostics.{name}": value for name, value in parameters["diagnostics"].items()}
    declared = [name for name in rig.node._parameters if name.startswith("diagnostics.")]
    assert {name: rig.node.get_parameter(name).value for name in declared} == written
    assert parameters["front.min_rate"] == rig.node.get_parameter("front.min_rate").value
