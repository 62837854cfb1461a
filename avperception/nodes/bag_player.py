"""The player node: a recording's topics and /clock, for nodes that run on simulated time."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import QosDurability, QosReliability
from rosgraph_msgs.msg import Clock

from avperception.bags import BagMessage, BagReader, BagTopic
from avperception.errors import BagError, ConfigurationError
from avperception.nodes import qos
from avperception.nodes.conversions.headers import time_message
from avperception.nodes.playback import Playback, Sink
from avperception.nodes.process import run_node
from avperception.nodes.start_errors import RCLError

NOT_PLAYED = ("/clock", "/diagnostics", "/parameter_events", "/rosout", "/perception/output", "/visualizer")
"""Topics, and all below them, that the nodes of this run publish themselves."""

DEPTH = 100


class BagPlayer(Node):
    """Plays a recording with the QoS its topics were recorded with, on the clock of the recording.

    It waits for subscribers of the topics in `wait_for`, and ends with the recording unless it loops.
    Messages are sent as they were recorded, byte for byte, and only while somebody subscribes. Raises
    ConfigurationError without a `bag`, and BagError for one that cannot be played.
    """

    def __init__(self, *, parameter_overrides: Sequence[Parameter] | None = None) -> None:
        super().__init__("bag_player", parameter_overrides=list(parameter_overrides or ()))
        path = self._declare("bag", "", "The recording: a rosbag2 folder, a .mcap or a .db3 file.")
        rate = self._declare("rate", 1.0, "Speed, as a multiple of the recorded one.", 0.01, 100.0)
        clock_rate = self._declare("clock_rate", 100.0, "Steps of /clock a second [Hz].", 1.0, 1000.0)
        loop = self._declare("loop", False, "Begin again at the end, until Ctrl-C.")
        self._wait_for = self._declare("wait_for", [""], "Topics that need a subscriber before it begins.")
        self._patience_s = self._declare("wait_timeout", 60.0, "Longest wait for them [s].", 0.0, 3600.0)
        if not path:
            raise ConfigurationError("there is no recording: give its path by the parameter `bag`")
        self._bag = BagReader(Path(path).expanduser()).__enter__()
        self._clock_publisher = self.create_publisher(Clock, "/clock", qos.result())
        self._publishers_by_topic = self._make_publishers()
        self._latched = {topic.name for topic in self._bag.topics if topic.latched}
        self._playback = Playback(
            self._bag,
            set(self._publishers_by_topic),
            Sink(self._send, self._set_clock, self.get_logger().warning),
            rate=rate,
            clock_rate=clock_rate,
            loop=loop,
        )
        self._thread = threading.Thread(target=self._play, name="playback", daemon=True)

    def begin(self) -> None:
        """Start to play, on a thread of its own."""
        seconds = (self._bag.end_ns - self._bag.start_ns) / 1e9
        self.get_logger().info(
            f"{self._bag.path}: {seconds:.1f} s, {self._bag.message_count} messages"
            + (f"; {self._bag.damage}" if self._bag.damage else "")
        )
        self._thread.start()

    @property
    def rounds(self) -> int:
        """How often the recording was played to its end."""
        return self._playback.rounds

    def destroy_node(self) -> None:
        """End the playback before the node goes."""
        self._playback.stop()
        if self._thread.is_alive():
            self._thread.join()
        self._bag.close()
        super().destroy_node()

    def _declare(
        self, name: str, default: Any, description: str, low: float | None = None, high: float | None = None
    ) -> Any:
        descriptor = ParameterDescriptor(description=description, read_only=True)
        if low is not None and high is not None:
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        return self.declare_parameter(name, default, descriptor).value

    def _make_publishers(self) -> dict[str, Publisher]:
        publishers, unknown = {}, []
        for topic in self._bag.topics:
            if any(topic.name == name or topic.name.startswith(f"{name}/") for name in NOT_PLAYED):
                continue
            message_class = _message_class(topic.msgtype)
            if message_class is None:
                unknown.append(f"{topic.name} ({topic.msgtype})")
                continue
            publishers[topic.name] = self.create_publisher(
                message_class, topic.name, _recorded_qos(topic), qos_overriding_options=qos.overridable()
            )
        if unknown:
            self.get_logger().warning(f"not played, their packages are not installed: {', '.join(unknown)}")
        if not publishers:
            raise BagError(f"{self._bag.path} holds no topic that can be played")
        return publishers

    def _play(self) -> None:
        try:
            self._play_all()
        except RCLError:
            if self.context.ok():  # else Ctrl-C has taken the topics away
                raise

    def _play_all(self) -> None:
        wanted = [name for name in self._wait_for if name in self._publishers_by_topic]
        is_begun = self._playback.hold(lambda: not self._without_subscriber(wanted), self._patience_s)
        if self._playback.is_stopped:
            return
        if not is_begun and (missing := self._without_subscriber(wanted)):
            self.get_logger().warning(f"nobody subscribes to {', '.join(missing)}: played all the same")
        if self._playback.run():
            self.get_logger().info(f"{self._bag.path} is over" + self._damage())
            self.context.shutdown()

    def _damage(self) -> str:
        return f"; {self._bag.damage}" if self._bag.damage else ""

    def _without_subscriber(self, topics: list[str]) -> list[str]:
        return [t for t in topics if not self._publishers_by_topic[t].get_subscription_count()]

    def _send(self, message: BagMessage) -> None:
        publisher = self._publishers_by_topic[message.topic]
        if message.topic in self._latched or publisher.get_subscription_count():
            publisher.publish(message.cdr)

    def _set_clock(self, now_ns: int) -> None:
        self._clock_publisher.publish(Clock(clock=time_message(now_ns)))


def _recorded_qos(topic: BagTopic) -> QoSProfile:
    """The QoS that serves every subscriber the recorded publishers served; reliable if it is not known."""
    best_effort = bool(topic.qos) and all(q.reliability is QosReliability.BEST_EFFORT for q in topic.qos)
    latched = any(profile.durability is QosDurability.TRANSIENT_LOCAL for profile in topic.qos)
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=DEPTH if latched else 10,
        reliability=ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def _message_class(msgtype: str) -> type[Any] | None:
    package, _, name = msgtype.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name, None)
    except ImportError:
        return None


def main(args: list[str] | None = None) -> None:
    """Run the node until the recording is over or Ctrl-C; exit code 2 when it cannot be played."""
    run_node("bag_player", BagPlayer, args=args, begin=BagPlayer.begin)
