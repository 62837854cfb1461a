"""Drives the perception node over real topics, one message at a time: the only module here that knows ROS."""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock

from avperception.bags import BagMessage
from avperception.errors import AvperceptionError, ConfigurationError, MessageError
from avperception.nodes.conversions.headers import time_message
from avperception.nodes.endpoints import type_name
from avperception.nodes.perception import PerceptionNode
from avperception.nodes.start_errors import START_ERRORS, one_line
from avperception.pipeline.fusion import CameraView
from avperception.replay.plan import ReplayPlan
from avperception.types import CameraResult, FusedResult, Image

MATCH_TIMEOUT_S = 20.0
SETTLE_TIMEOUT_S = 120.0
DEPTH = 1000


class ReplayError(AvperceptionError):
    """The node did not start or did not finish a message."""


@dataclass(frozen=True)
class Recorded:
    """A message that the node published, serialized."""

    topic: str
    msgtype: str
    cdr: bytes


@dataclass(frozen=True)
class Results:
    """What the node made of the messages since the last time it was asked."""

    cameras: list[tuple[CameraResult, Image]]
    fused: list[FusedResult]
    recorded: list[Recorded]


class ReplayDriver:
    """The perception node and a player in one process, on topics that no other process sees.

    `play` sends a message, `settle` waits until the node has dealt with it, so what comes out depends on
    the recording alone and not on how fast the machine is. Time is simulated and stands still between.
    """

    def __init__(self, plan: ReplayPlan, parameters: dict[str, Any], ros_args: Sequence[str] = ()) -> None:
        self._plan = plan
        self._parameters = parameters
        self._ros_args = list(ros_args)
        self._lock = threading.Lock()
        self._results = Results([], [], [])
        self._sent = 0
        self._recorded = 0
        self._now_ns = 0
        self._nodes: list[Node] = []
        self._executor: SingleThreadedExecutor | None = None

    def __enter__(self) -> ReplayDriver:
        with _alone():
            rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
            try:
                self._start()
            except BaseException as error:
                self._stop()
                if isinstance(error, START_ERRORS) and not isinstance(error, AvperceptionError):
                    raise ConfigurationError(f"the node cannot start: {one_line(error)}") from error
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def play(self, message: BagMessage) -> None:
        """Bring the clock to the message's log time and send it to the node."""
        self.advance(message.stamp_ns)
        self._publishers[message.topic].publish(message.cdr)
        self._sent += 1

    def advance(self, now_ns: int) -> None:
        """Bring the node's clock to this time; it waits for the node to have noticed."""
        if now_ns == self._now_ns:
            return
        self._now_ns = now_ns
        self._clock.publish(Clock(clock=time_message(now_ns)))
        self._spin_until(
            lambda: self.node.get_clock().now().nanoseconds == now_ns, SETTLE_TIMEOUT_S, "take the time"
        )

    def settle(self) -> Results:
        """Wait until every message sent has led to its results, and give them."""
        self._spin_until(self._is_settled, SETTLE_TIMEOUT_S, "finish a message")
        with self._lock:
            results, self._results = self._results, Results([], [], [])
        results.recorded.sort(key=lambda recorded: recorded.topic)
        return results

    @property
    def target_frame(self) -> str:
        """The frame of the node's 3D results."""
        return str(self.node.get_parameter("target_frame").value)

    def views_of(self, fused: FusedResult | None) -> Callable[[CameraResult], CameraView | None]:
        """Give what finds the cameras' places for what was fused: what the vehicle moved is taken out."""
        return partial(self.view, sweep_ns=None if fused is None else fused.stamp_ns)

    def view(self, result: CameraResult, sweep_ns: int | None = None) -> CameraView | None:
        """Give the calibration and place of a camera for a result, None where they are not known.

        The place is in the target frame at the sweep's time; at the image's own without one.
        """
        for camera in self.node.cameras:
            if camera.name == result.camera:
                # Odometry that does not reach to the sweep was noted when that was fused: not once more.
                is_known = sweep_ns is not None and camera.is_placed(result, sweep_ns)
                try:
                    return camera.view(result, sweep_ns if is_known else None)
                except MessageError:
                    return None
        return None

    def _stop(self) -> None:
        """Let go of all that was started so far, in the order that rclpy wants."""
        if self._executor is not None:
            self._executor.shutdown()
        for node in self._nodes:
            node.destroy_node()
        rclpy.shutdown()

    def _start(self) -> None:
        overrides = {"use_sim_time": True, "autostart": True, **self._parameters, **_reliable(self._plan)}
        self.node = PerceptionNode(
            cli_args=["--ros-args", *self._ros_args, *_remaps(self._plan)],
            parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()],
            on_camera=self._on_camera,
            on_fused=self._on_fused,
        )
        self._nodes.append(self.node)
        self._player = Node("avperception_replay", use_global_arguments=False)
        self._nodes.append(self._player)
        self._executor = SingleThreadedExecutor()
        for node in self._nodes:
            self._executor.add_node(node)
        self.node.autostart()
        self._connect()

    def _connect(self) -> None:
        """Make the player's publishers and the recorder's subscriptions, and wait until all are matched."""
        self._clock = self._player.create_publisher(Clock, "/clock", _qos(latched=False))
        self._publishers = {
            entry.topic: self._player.create_publisher(entry.message_type, entry.topic, _qos(latched=False))
            for entry in self.node.inputs
        }
        tf_message = _message_class("tf2_msgs/msg/TFMessage")
        for topic in self._plan.transforms:
            profile = _qos(latched=topic == "/tf_static")
            self._publishers[topic] = self._player.create_publisher(tf_message, topic, profile)
        for topic, message_type in {o.topic: o.message_type for o in self.node.outputs}.items():
            self._record(topic, message_type)
        matched = [self._clock, *self._publishers.values()]
        self._spin_until(
            lambda: (
                all(publisher.get_subscription_count() for publisher in matched)
                and all(output.is_wanted for output in self.node.outputs)
            ),
            MATCH_TIMEOUT_S,
            "connect to the player",
        )

    def _record(self, topic: str, message_type: type[Any]) -> None:
        name = type_name(message_type)

        def store(cdr: bytes) -> None:
            with self._lock:
                self._results.recorded.append(Recorded(topic, name, bytes(cdr)))
            self._recorded += 1

        self._player.create_subscription(message_type, topic, store, _qos(latched=False), raw=True)

    def _is_settled(self) -> bool:
        received = sum(source.received for source in self.node.sources)
        if received < self._sent or not self.node.is_idle:
            return False
        return self._recorded >= sum(output.sent for output in self.node.outputs)

    def _spin_until(self, done: Any, timeout_s: float, what: str) -> None:
        executor = self._executor
        assert executor is not None
        deadline_s = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline_s:
                raise ReplayError(f"the node did not {what} within {timeout_s:.0f} s: its log says why")
            executor.spin_once(timeout_sec=0.005)

    def _on_camera(self, result: CameraResult, image: Image) -> None:
        with self._lock:
            self._results.cameras.append((result, image))

    def _on_fused(self, result: FusedResult) -> None:
        with self._lock:
            self._results.fused.append(result)


@contextmanager
def _alone() -> Iterator[None]:
    """Let what starts here neither hear nor be heard by a robot on the same network."""
    # Humble knows the older variable only, Jazzy warns of it.
    is_humble = os.environ.get("ROS_DISTRO") == "humble"
    name, value = ("ROS_LOCALHOST_ONLY", "1") if is_humble else ("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _remaps(plan: ReplayPlan) -> list[str]:
    """Connect the node's private inputs to the recording's own topics."""
    rules = [f"~/input/points:={plan.points}"] if plan.points else []
    for camera in plan.cameras:
        image = f"~/input/{camera.name}/image_raw" + ("/compressed" if camera.compressed else "")
        rules.append(f"{image}:={camera.image}")
        if camera.info:
            rules.append(f"~/input/{camera.name}/camera_info:={camera.info}")
    return [word for rule in rules for word in ("-r", rule)]


def _reliable(plan: ReplayPlan) -> dict[str, Any]:
    """Override the inputs' QoS: in a replay no message may be lost."""
    topics = [camera.image for camera in plan.cameras]
    topics += [camera.info for camera in plan.cameras if camera.info]
    topics += [plan.points] if plan.points else []
    overrides: dict[str, Any] = {}
    for topic in topics:
        overrides[f"qos_overrides.{topic}.subscription.reliability"] = "reliable"
        overrides[f"qos_overrides.{topic}.subscription.depth"] = DEPTH
    return overrides


def _qos(latched: bool) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=DEPTH,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def _message_class(msgtype: str) -> type[Any]:
    package, _, name = msgtype.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), name)
