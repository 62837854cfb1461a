"""Sensors at their own rates on the wall clock: one dies and comes back, a recording loops, clocks change."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rig import Rig
from road import camera_info, image, sweep, transform
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from avperception.nodes import qos

SECOND = 1_000_000_000
SWEEP_PERIOD = 0.1
CAMERAS = ("front", "left", "right")
SETTINGS: dict[str, Any] = {"cameras": list(CAMERAS)}


def stamp_ns(message: Any) -> int:
    return int(message.header.stamp.sec * SECOND + message.header.stamp.nanosec)


class Vehicle:
    """Publishers of three cameras and a lidar beside the node, and what the node makes of them."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.images = {name: rig.publisher(Image, f"/perception/input/{name}/image_raw") for name in CAMERAS}
        infos = {name: rig.publisher(CameraInfo, f"/perception/input/{name}/camera_info") for name in CAMERAS}
        self.points = rig.publisher(PointCloud2, "/perception/input/points")
        static = rig.publisher(TFMessage, "/tf_static", qos.static_transforms())
        static.publish(transform("base_link", "lidar"))
        static.publish(transform("base_link", "front_camera_optical"))
        for info in infos.values():
            info.publish(camera_info(SECOND))
        rig.spin_until(lambda: all(camera.info_source.received for camera in rig.node.cameras))
        rig.spin_until(lambda: rig.node.transform_source.received >= 2)
        self.outputs: list[tuple[float, int, tuple[int, ...]]] = []
        rig.companion.create_subscription(
            Detection3DArray, "/perception/output/detections_3d", self._take, 10
        )
        rig.spin_until(lambda: rig.node.fusion.outputs[0].is_wanted)

    def missing(self) -> tuple[int, ...]:
        """Sweeps that went out without each camera, so far."""
        dropped = self.rig.node.fusion.source.dropped
        return tuple(dropped.get(f"missing_{name}", 0) for name in CAMERAS)

    def timer(self, period_s: float, function: Callable[[], None]) -> Any:
        return self.rig.companion.create_timer(period_s, function)

    def _take(self, message: Detection3DArray) -> None:
        self.outputs.append((time.monotonic(), stamp_ns(message), self.missing()))


def test_a_camera_of_three_dies_and_comes_back():
    timeout_s = 0.25  # above what a busy machine adds, and so that few sweeps come meanwhile
    with Rig({**SETTINGS, "sync.timeout": timeout_s}) as rig:
        vehicle = Vehicle(rig.start())
        sent: list[int] = []

        def send_sweep() -> None:
            sent.append(time.time_ns())
            vehicle.points.publish(sweep(sent[-1]))

        timers = {
            name: vehicle.timer(0.05, lambda name=name: vehicle.images[name].publish(image(time.time_ns())))
            for name in CAMERAS
        }
        vehicle.timer(SWEEP_PERIOD, send_sweep)
        rig.spin_until(lambda: len(vehicle.outputs) >= 5)
        before = len(vehicle.outputs)

        timers["left"].cancel()
        died = time.monotonic()
        rig.spin_for(1.5)
        without = len(vehicle.outputs)
        timers["left"].reset()
        back = time.monotonic()
        rig.spin_for(1.5)

        arrivals = np.array([arrival for arrival, _, _ in vehicle.outputs])
        stamps = [stamp for _, stamp, _ in vehicle.outputs]
        assert stamps == sent[: len(stamps)], "every sweep has its result, in order"
        assert len(sent) - len(stamps) <= 4
        # One sweep waits for the dead camera; some that came meanwhile stand behind it, no later one waits.
        assert np.diff(arrivals).max() < timeout_s + SWEEP_PERIOD + 0.3
        waits = arrivals - np.array(stamps) / SECOND + (time.time() - time.monotonic())
        late = np.flatnonzero(waits[before:without] > timeout_s - 0.01)
        assert len(late) <= 4, f"late after the death: {waits[before:without]}"
        left = np.array([missing[1] for _, _, missing in vehicle.outputs])
        assert left[without - 1] > left[before] + 5, "it says so for each sweep"
        whole = arrivals[1:][np.diff(left) == 0]
        returned = whole[whole > back][0]
        assert returned - back < 1.0
        assert left[-1] == left[arrivals > back + 1.0][0], "and stays"
        first_without = arrivals[1:][np.diff(left) > 0][0]
        print(
            f"first result without it {first_without - died:.3f} s after the death, largest gap "
            f"{np.diff(arrivals).max():.3f} s, first with it {returned - back:.3f} s after its return"
        )


LAPS, FRAMES = 5, 6
SLOWLY = 2
"""Seconds that a second of the recording takes: a machine with other work to do must keep up."""

START = 1_000 * SECOND


def recording(seed: int) -> list[tuple[int, str, int]]:
    """What a short recording sends, by log time [ns]: sensors of one moment come in an order of their own."""
    random = np.random.default_rng(seed)
    events = []
    for frame in range(FRAMES):
        stamp = START + frame * SECOND // 10
        for sensor in (*CAMERAS, "lidar"):
            events.append((stamp + int(random.integers(0, SECOND // 50)), sensor, stamp))
    return sorted(events)


@pytest.mark.parametrize("use_sim_time", [True, False], ids=["with its clock", "on the wall clock"])
def test_a_recording_looped_five_times_gives_five_times_the_same_sets(use_sim_time: bool):
    """Without a pause in between, and in another order of the sensors at each seam."""
    topics = ["points", *(f"{name}/image_raw" for name in CAMERAS)]
    reliable = {
        f"qos_overrides./perception/input/{topic}.subscription.reliability": "reliable" for topic in topics
    }
    with Rig({**SETTINGS, **reliable, "use_sim_time": use_sim_time, "sync.timeout": 1.0}) as rig:
        vehicle = Vehicle(rig.start())
        clock = rig.companion.create_publisher(Clock, "/clock", 10)
        for lap in range(LAPS):
            begin = time.monotonic()
            for log_ns, sensor, stamp in recording(seed=lap):
                rig.spin_for(begin + SLOWLY * (log_ns - START) / SECOND - time.monotonic())
                message = Clock()
                message.clock.sec, message.clock.nanosec = divmod(log_ns, SECOND)
                clock.publish(message)
                if sensor == "lidar":
                    vehicle.points.publish(sweep(stamp))
                else:
                    vehicle.images[sensor].publish(image(stamp))
            rig.spin_for(begin + SLOWLY * FRAMES / 10 - time.monotonic())
        message.clock.sec += 10
        clock.publish(message)
        rig.spin_until(lambda: len(vehicle.outputs) >= LAPS * FRAMES)
        lap_stamps = [START + frame * SECOND // 10 for frame in range(FRAMES)]
        assert [stamp for _, stamp, _ in vehicle.outputs] == lap_stamps * LAPS
        assert vehicle.missing() == (0, 0, 0)
        assert not rig.node.lidar.source.dropped


def test_use_sim_time_that_changes_while_it_runs():
    """Onto a recording's clock and back, with a camera dead all the time: no sweep stays behind."""
    with Rig(SETTINGS) as rig:
        vehicle = Vehicle(rig.start())
        clock = rig.companion.create_publisher(Clock, "/clock", 10)

        def send(stamp: int, *names: str) -> None:
            for name in names:
                vehicle.images[name].publish(image(stamp))
            vehicle.points.publish(sweep(stamp))

        def output(stamp: int) -> bool:
            return any(found == stamp for _, found, _ in vehicle.outputs)

        live = time.time_ns()
        send(live, *CAMERAS)
        rig.spin_until(lambda: output(live))

        assert rig.set(use_sim_time=True).successful
        send(START, "front", "right")
        rig.spin_for(0.3)
        assert not output(START), "time stands still until somebody tells it"
        for step in range(3):
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(START + step * SECOND // 10, SECOND)
            clock.publish(message)
            rig.spin_for(0.05)
        rig.spin_until(lambda: output(START), timeout_s=2.0)

        send(START + SECOND // 10, "front", "right")
        assert rig.set(use_sim_time=False).successful
        rig.spin_until(lambda: output(START + SECOND // 10), timeout_s=2.0)
        live = time.time_ns()
        send(live, *CAMERAS)
        rig.spin_until(lambda: output(live), timeout_s=2.0)
        assert len(vehicle.outputs) == 4


def test_what_nobody_subscribes_to_is_not_made():
    with Rig(SETTINGS) as rig:
        vehicle = Vehicle(rig.start())
        for index in range(3):
            stamp = time.time_ns()
            for name in CAMERAS:
                vehicle.images[name].publish(image(stamp, data=array("B", bytes(96))))
            vehicle.points.publish(sweep(stamp))
            rig.spin_until(lambda index=index: len(vehicle.outputs) == index + 1)
        sent = {output.topic: output.sent for output in rig.node.outputs}
        assert sent.pop("/perception/output/detections_3d") == 3
        assert set(sent.values()) == {0}, sent
