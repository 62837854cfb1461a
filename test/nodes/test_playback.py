"""A recording played on time: its clock, its laps, and the node that sends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from stage import Stage
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

from avperception.bags import BagMessage, BagReader, BagWriter, typestore
from avperception.errors import BagError, ConfigurationError
from avperception.nodes import qos
from avperception.nodes.bag_player import BagPlayer
from avperception.nodes.playback import TAIL_NS, Playback, Sink

START = 1_700_000_000_000_000_000
STEP = 20_000_000
COUNT = 10
STRING = "std_msgs/msg/String"


def text(content: str) -> Any:
    return typestore().types[STRING](data=content)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Ten words 20 ms apart, a latched topic, and topics that are not to be played."""
    path = tmp_path / "words.mcap"
    with BagWriter(path) as bag:
        bag.add_topic("/tf_static", "tf2_msgs/msg/TFMessage", latched=True)
        bag.write("/tf_static", START, typestore().types["tf2_msgs/msg/TFMessage"](transforms=[]))
        for topic in ("/words", "/perception/output/words"):
            bag.add_topic(topic, STRING)
        for number in range(COUNT):
            bag.write("/words", START + number * STEP, text(f"word {number}"))
        bag.write("/perception/output/words", START + STEP, text("of another run"))
    return path


class Heard:
    """What a playback did, in order: ("clock", ns) and ("message", ns)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []
        self.told: list[str] = []

    def sink(self) -> Sink:
        return Sink(self._message, lambda ns: self.events.append(("clock", ns)), self.told.append)

    def _message(self, message: BagMessage) -> None:
        self.events.append(("message", message.stamp_ns))

    def of(self, kind: str) -> list[int]:
        return [stamp for name, stamp in self.events if name == kind]


def playback(bag: BagReader, heard: Heard, **options: Any) -> Playback:
    settings: dict[str, Any] = {"rate": 1.0, "clock_rate": 200.0, "loop": False, **options}
    return Playback(bag, {"/words"}, heard.sink(), **settings)


def test_every_message_comes_once_and_the_clock_is_there_before_it(recording: Path) -> None:
    heard = Heard()
    with BagReader(recording) as bag:
        assert playback(bag, heard).run()
    assert heard.of("message") == [START + number * STEP for number in range(COUNT)]
    clock = heard.of("clock")
    assert clock == sorted(clock) and clock[0] == START
    last = 0
    for kind, stamp in heard.events:
        if kind == "message":
            assert last == stamp
        last = stamp
    assert clock[-1] >= START + (COUNT - 1) * STEP + TAIL_NS // 2
    assert heard.told == []


@pytest.mark.parametrize("rate", [0.5, 4.0])
def test_the_rate_is_kept(recording: Path, rate: float) -> None:
    times: list[float] = []
    heard = Heard()
    sink = Sink(lambda message: times.append(time.monotonic()), lambda ns: None, heard.told.append)
    with BagReader(recording) as bag:
        Playback(bag, {"/words"}, sink, rate=rate, clock_rate=100.0, loop=False).run()
    assert times[-1] - times[0] == pytest.approx((COUNT - 1) * STEP / 1e9 / rate, abs=0.1)


def test_each_lap_is_the_same_and_begins_with_the_clock_set_back(recording: Path) -> None:
    heard = Heard()
    with BagReader(recording) as bag:
        laps = playback(bag, heard, rate=10.0, loop=True)
        thread = threading.Thread(target=laps.run)
        thread.start()
        end = time.monotonic() + 20
        while laps.rounds < 3 and time.monotonic() < end:
            time.sleep(0.01)
        laps.stop()
        thread.join(timeout=5)
    assert not thread.is_alive() and laps.rounds == 3
    one_lap = [START + number * STEP for number in range(COUNT)]
    assert heard.of("message")[: 3 * COUNT] == 3 * one_lap
    for (before, _), (kind, stamp) in pairwise(heard.events):
        if kind == "message" and stamp == START:
            assert before == "clock"
    clock = heard.of("clock")
    jumps = [stamp for before, stamp in pairwise(clock) if stamp < before]
    assert jumps == [START] * len(jumps) and len(jumps) in (2, 3)


def test_a_playback_that_is_stopped_ends_at_once(recording: Path) -> None:
    heard = Heard()
    with BagReader(recording) as bag:
        slow = playback(bag, heard, rate=0.01)
        threading.Timer(0.5, slow.stop).start()
        begin = time.monotonic()
        assert not slow.run()
    assert time.monotonic() - begin < 2 and slow.rounds == 0


def test_a_machine_that_is_too_slow_is_told_once(recording: Path) -> None:
    heard = Heard()
    sink = Sink(lambda message: time.sleep(0.3), lambda ns: None, heard.told.append)
    with BagReader(recording) as bag:
        assert Playback(bag, {"/words"}, sink, rate=5.0, clock_rate=100.0, loop=False).run()
    (line,) = heard.told
    assert "rate 5" in line


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


def player(stage: Stage, recording: Path, **parameters: Any) -> BagPlayer:
    overrides = {"bag": str(recording), **parameters}
    return stage.add(BagPlayer(parameter_overrides=[Parameter(n, value=v) for n, v in overrides.items()]))


def test_the_node_waits_for_its_subscribers_and_sends_everything_then(stage: Stage, recording: Path) -> None:
    node = player(stage, recording, wait_for=["/words"], loop=True, rate=4.0)
    clocks = stage.collect(Clock, "/clock")
    node.begin()
    stage.spin_for(0.8)
    assert node.rounds == 0 and clocks
    assert {message.clock.sec * 10**9 + message.clock.nanosec for message in clocks} == {START}
    words = stage.collect(String, "/words")
    stage.spin_until(lambda: node.rounds >= 1)
    assert [message.data for message in words][:COUNT] == [f"word {number}" for number in range(COUNT)]
    assert not stage.companion.get_publishers_info_by_topic("/perception/output/words")


def test_who_is_missing_is_told_after_the_wait_and_not_when_it_is_broken_off(
    recording: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = "nobody subscribes to /words: played all the same"
    with Stage() as stage:
        player(stage, recording, wait_for=["/words"], loop=True).begin()
        stage.spin_for(0.3)
    assert told not in capfd.readouterr().err
    with Stage() as stage:
        player(stage, recording, wait_for=["/words"], wait_timeout=0.1, loop=True).begin()
        stage.spin_for(0.5)
    assert told in capfd.readouterr().err


def test_latched_topics_reach_a_late_subscriber(stage: Stage, recording: Path) -> None:
    node = player(stage, recording, loop=True)
    node.begin()
    stage.spin_for(0.6)
    received = stage.collect(TFMessage, "/tf_static", qos.static_transforms())
    stage.spin_until(lambda: received)


def test_the_qos_is_the_recorded_one_unless_overridden(stage: Stage, recording: Path) -> None:
    override = {"qos_overrides./words.publisher.reliability": "best_effort"}
    player(stage, recording, **override)
    stage.spin_for(0.2)
    (words,) = stage.companion.get_publishers_info_by_topic("/words")
    assert words.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    (static,) = stage.companion.get_publishers_info_by_topic("/tf_static")
    assert static.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    (clock,) = stage.companion.get_publishers_info_by_topic("/clock")
    assert clock.qos_profile.reliability == ReliabilityPolicy.RELIABLE


def test_at_the_end_of_the_recording_the_process_ends(stage: Stage, recording: Path) -> None:
    node = player(stage, recording, rate=10.0)
    stage.collect(String, "/words", QoSProfile(depth=50))
    node.begin()
    end = time.monotonic() + 10
    while stage.companion.context.ok() and time.monotonic() < end:
        time.sleep(0.02)
    assert not stage.companion.context.ok() and node.rounds == 1


@pytest.mark.parametrize(
    ("bag", "error", "words"),
    [("", ConfigurationError, "parameter `bag`"), ("/nowhere/drive.mcap", BagError, "does not exist")],
)
def test_a_recording_that_is_not_there_is_refused(
    stage: Stage, bag: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        player(stage, Path(bag) if bag else "", **{})  # type: ignore[arg-type]
