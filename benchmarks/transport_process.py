"""The two processes that benchmarks/transport.py measures: one publishes images, one subscribes to them.

Each is started as `python transport_process.py publisher|subscriber SETTINGS RELIABILITY MESSAGES RATE`,
obeys lines on stdin and answers on stdout in lines of "@" and JSON, because Fast DDS writes its log there.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from array import array
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from avperception.nodes.memory import tune_malloc
from avperception.nodes.transport import use_shared_memory_profile

WIDTH, HEIGHT, CHANNELS = 1920, 1080, 3
SIZE = WIDTH * HEIGHT * CHANNELS
MARKED = range(0, SIZE, 65_536)
"""Bytes that carry the message's number: one in each fragment, so that an overwritten one shows."""
WARM_UP_MESSAGES = 10
MATCH_TIMEOUT_S = 20.0


def say(**values: Any) -> None:
    print("@" + json.dumps(values), flush=True)


def next_order() -> threading.Event:
    """An event that is set by the next line on stdin, or by its end when the parent is gone."""
    event = threading.Event()

    def wait() -> None:
        sys.stdin.readline()
        event.set()

    threading.Thread(target=wait, daemon=True).start()
    return event


def publish(node: Any, image_type: Any, qos: Any, messages: int, rate: float) -> None:
    """Warm up until told to count, send `messages` images at `rate` hertz, wait for the word to leave."""
    publisher = node.create_publisher(image_type, "benchmark/image", qos)
    give_up = time.monotonic() + MATCH_TIMEOUT_S
    while publisher.get_subscription_count() == 0 and time.monotonic() < give_up:
        time.sleep(0.02)
    pixels = array("B", bytes(SIZE))
    message = image_type(width=WIDTH, height=HEIGHT, encoding="rgb8", step=WIDTH * CHANNELS, data=pixels)
    count = next_order()
    number, due, late_ms = -1, time.monotonic(), 0.0
    while number < messages - 1:
        # A camera that is late does not catch up: the next frame comes a period after this one.
        now, planned = time.monotonic(), due + 1.0 / rate
        due = max(planned, now)
        time.sleep(due - now)
        if number >= 0:
            late_ms = max(late_ms, (due - planned) * 1e3)
        number = number + 1 if count.is_set() else -1
        for byte in MARKED:
            message.data[byte] = number % 256
        message.header.frame_id = str(number)
        stamp_ns = time.time_ns()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
        publisher.publish(message)
    leave = next_order()
    say(sent=messages, late_ms=late_ms)
    leave.wait()


class Measurement:
    """What the subscriber's callback sees: numbers, latencies, damage, and the CPU time of its process."""

    def __init__(self) -> None:
        self.warm_up = 0
        self.damaged = 0
        self.latencies_ms: dict[int, float] = {}
        self.usage: list[tuple[float, float, int]] = []

    def on_image(self, message: Any) -> None:
        now_ns = time.time_ns()
        number = int(message.header.frame_id)
        if number < 0:
            self.warm_up += 1
            if self.warm_up == WARM_UP_MESSAGES:
                say(ready=True)
            return
        data = message.data
        self.damaged += len(data) != SIZE or any(data[byte] != number % 256 for byte in MARKED)
        stamp = message.header.stamp
        self.latencies_ms[number] = (now_ns - stamp.sec * 1_000_000_000 - stamp.nanosec) / 1e6
        used = resource.getrusage(resource.RUSAGE_SELF)
        self.usage.append((time.monotonic(), used.ru_utime + used.ru_stime, used.ru_minflt))

    def result(self) -> dict[str, Any]:
        values: dict[str, Any] = {"received": len(self.latencies_ms), "damaged": self.damaged}
        values["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        values["latencies_ms"] = [round(value, 3) for _, value in sorted(self.latencies_ms.items())]
        if len(self.usage) > 1:
            (time_0, cpu_0, faults_0), (time_1, cpu_1, faults_1) = self.usage[0], self.usage[-1]
            values["cpu_percent"] = 100.0 * (cpu_1 - cpu_0) / (time_1 - time_0)
            values["page_faults_per_message"] = (faults_1 - faults_0) / (len(self.usage) - 1)
        return values


def subscribe(node: Any, image_type: Any, qos: Any) -> None:
    """Spin as the `perception` node does until told to stop, then report."""
    from rclpy.executors import SingleThreadedExecutor

    measurement, stop = Measurement(), next_order()
    node.create_subscription(image_type, "benchmark/image", measurement.on_image, qos)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not stop.is_set():
        executor.spin_once(timeout_sec=0.2)
    say(**measurement.result(), versions=versions())


def versions() -> dict[str, str]:
    """Versions of rclpy, the middleware and the Fast DDS library that this process has loaded."""
    from rclpy.utilities import get_rmw_implementation_identifier

    rmw = get_rmw_implementation_identifier()
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    manifests = [Path(prefix) / "share" / rmw / "package.xml" for prefix in prefixes if prefix]
    text = next((path.read_text() for path in manifests if path.is_file()), "<version>unknown</version>")
    found = {"rclpy": version("rclpy"), rmw: text.split("<version>")[1].split("</version>")[0]}
    mapped = (line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines())
    for path in sorted({path for path in mapped if "libfast" in path}):
        name, _, number = Path(path).resolve().name.partition(".so.")
        found[name] = number
    return found


def main() -> None:
    role, settings, reliability, messages, rate = sys.argv[1:]
    if settings == "ours":
        # What the perception node does at its start; the publisher stands for a driver set up as documented.
        malloc, transport = tune_malloc(), use_shared_memory_profile()
        if not (malloc.applied and transport.shared_memory):
            sys.exit(f"our settings cannot be measured here: {malloc.detail}; {transport.detail}")
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from rclpy.utilities import try_shutdown
    from sensor_msgs.msg import Image

    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy[reliability.upper()])
    rclpy.init()
    node = rclpy.create_node(f"benchmark_{role}")
    try:
        if role == "publisher":
            publish(node, Image, qos, int(messages), float(rate))
        else:
            subscribe(node, Image, qos)
    except (KeyboardInterrupt, ExternalShutdownException):
        sys.exit(130)
    finally:
        node.destroy_node()
        try_shutdown()


if __name__ == "__main__":
    main()
