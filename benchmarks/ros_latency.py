"""What ROS adds to the pipeline: image published to detections received, over what the pipeline alone takes.

    python benchmarks/ros_latency.py                                         # three 720p cameras, CPU
    python benchmarks/ros_latency.py --backend tensorrt --cameras 4 --size 1920x1080 \
        --detector yolox_nano --segmenter twinlitenet --precision fp16       # a GPU host

Cameras (20 Hz, all at once, as a trigger wire makes them) and a lidar (10 Hz, 100,000 points) are one
process, the `perception` node, started as a user starts it, is another, a subscriber the third; with
`--segmenter` a fourth takes the masks. A latency is from just before a message is published to the
subscriber's callback. *Alone* is the same pipeline on the same arrays at the same pace on threads, without
ROS; both take turns. Without `--detector` it is a network of almost no work that finds three boxes, so that
the time around it is what is measured.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from ros_latency_network import write_small_detector

from avperception import __version__
from avperception.nodes.transport import use_shared_memory_profile
from avperception.scenes import Lidar, Rig, Scene, mounted, pinhole

HERE = Path(__file__).resolve().parent
CAMERA_RATE, LIDAR_RATE = 20.0, 10.0
POINTS = 100_000
KINDS = ("detections_2d", "detections_3d")
PERCENTILES = (50, 99)
START_TIMEOUT_S = 120.0
"""How long a process may take to begin: TensorRT may compile."""


def write_sensors(path: Path, cameras: int, width: int, height: int) -> None:
    """Render what all cameras and the lidar see at one moment of the synthetic road."""
    yaws = np.linspace(0.0, 2 * np.pi, cameras, endpoint=False)
    names = [f"camera_{number}" for number in range(cameras)]
    rig = Rig(
        tuple(
            mounted(name, pinhole(name, width, height, 90.0), (0.5, 0.0, 1.6), yaw=float(yaw))
            for name, yaw in zip(names, yaws, strict=True)
        ),
        Lidar.spinning(64, columns=2600),
    )
    frame = Scene(seed=7, road="straight", duration=2.0, rig=rig).frame(1.0)
    assert frame.sweep is not None and rig.lidar is not None
    rows = np.resize(np.random.default_rng(0).permutation(len(frame.sweep.points_lidar)), POINTS)
    np.savez(
        path,
        names=names,
        images=np.stack([frame.images[name] for name in names]),
        K=np.stack([camera.model.K for camera in rig.cameras]),
        frames=[camera.model.frame_id for camera in rig.cameras],
        T_base_camera=np.stack([camera.T_base_camera for camera in rig.cameras]),
        T_base_lidar=rig.lidar.T_base_lidar,
        points=frame.sweep.points_lidar[rows].astype(np.float32),
        intensity=frame.sweep.intensity[rows].astype(np.float32),
    )


def environment() -> dict[str, str]:
    """The environment of all processes: apart from other ROS processes, with the shared-memory profile."""
    kept = dict(os.environ)
    kept.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 101))
    kept.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    kept["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), kept.get("PYTHONPATH", "")])
    use_shared_memory_profile(kept)
    return kept


class Process:
    """A child process whose lines of "@" and JSON are its answers; it leaves when its stdin ends."""

    def __init__(self, arguments: list[str], sentence: str | None = None) -> None:
        stream = {"stderr": subprocess.STDOUT} if sentence else {}
        self._child = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
            **stream,  # type: ignore[call-overload]
        )
        self._sentence = sentence

    def wait_for(self, sentence: str, timeout_s: float = START_TIMEOUT_S) -> str:
        """Give the first line that holds a sentence; raises RuntimeError when there is none in time."""
        watchdog = threading.Timer(timeout_s, self._child.kill)
        watchdog.start()
        said = ""
        try:
            for line in self._child.stdout or ():
                said += line
                if sentence in line:
                    return line
        finally:
            watchdog.cancel()
        raise RuntimeError(f"a measured process ended without {sentence!r}:\n{said}")

    def answer(self, timeout_s: float) -> dict[str, Any]:
        return dict(json.loads(self.wait_for("@", timeout_s).partition("@")[2]))

    def leave(self) -> None:
        if self._child.stdin:
            self._child.stdin.close()
        if self._sentence:
            self._child.terminate()
            threading.Thread(target=self._drain, daemon=True).start()
        try:
            self._child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._child.kill()

    def _drain(self) -> None:
        for _ in self._child.stdout or ():
            pass


@contextmanager
def process(arguments: list[str], sentence: str | None = None) -> Iterator[Process]:
    child = Process(arguments, sentence)
    try:
        if sentence:
            child.wait_for(sentence)
        yield child
    finally:
        child.leave()


def role(name: str, folder: Path, seconds: float) -> list[str]:
    return [sys.executable, str(HERE / "ros_latency_process.py"), name, str(folder), str(seconds)]


def measure_ros(folder: Path, seconds: float, *, wants_masks: bool) -> dict[str, list[float]]:
    """Latencies through topics [ms] by kind."""
    script = "from avperception.nodes.executables import perception; perception()"
    node = [sys.executable, "-c", script, "--ros-args", "--params-file", str(folder / "parameters.yaml")]
    (folder / "over").unlink(missing_ok=True)
    with ExitStack() as running:
        running.enter_context(process(node, "active: cameras"))
        receiver = running.enter_context(process(role("receiver", folder, seconds)))
        if wants_masks:
            viewer = running.enter_context(process(role("viewer", folder, seconds)))
            viewer.answer(START_TIMEOUT_S)
        sensors = running.enter_context(process(role("sensors", folder, seconds)))
        sent = sensors.answer(START_TIMEOUT_S + seconds)
        received = receiver.answer(START_TIMEOUT_S + seconds)
    latencies: dict[str, list[float]] = {kind: [] for kind in KINDS}
    counts = dict.fromkeys(KINDS, 0)
    for source, times in sent.items():
        kind = KINDS[source == "points"]
        counts[kind] += len(times)
        latencies[kind] += [
            (received[source][s] - at) / 1e6 for s, at in times.items() if s in received[source]
        ]
    return {**latencies, "sent": [counts[kind] for kind in KINDS]}


def measure_alone(folder: Path, seconds: float) -> dict[str, list[float]]:
    """Times of the pipeline alone [ms] by kind."""
    with process(role("alone", folder, seconds)) as alone:
        return alone.answer(START_TIMEOUT_S + seconds)


def percentiles(rounds: list[dict[str, list[float]]], kind: str) -> list[float]:
    """p50 and p99 of each round, and of those the medians."""
    each = [np.percentile(one[kind], PERCENTILES) for one in rounds if one[kind]]
    return [round(float(value), 2) for value in np.median(each, axis=0)] if each else [float("nan")] * 2


def summary(ros: list[dict[str, list[float]]], alone: list[dict[str, list[float]]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for kind in KINDS:
        through, bare = percentiles(ros, kind), percentiles(alone, kind)
        sent = sum(one["sent"][KINDS.index(kind)] for one in ros)
        result[kind] = {
            "ros_ms": dict(zip(("p50", "p99"), through, strict=True)),
            "alone_ms": dict(zip(("p50", "p99"), bare, strict=True)),
            "overhead_ms": {
                name: round(a - b, 2) for name, a, b in zip(("p50", "p99"), through, bare, strict=True)
            },
            "sent": sent,
            "received": sum(len(one[kind]) for one in ros),
        }
    return result


def table(figures: dict[str, Any], title: str) -> Table:
    shown = Table(title=title, box=SIMPLE)
    shown.add_column("published to received")
    for heading in ("ROS p50", "p99", "alone p50", "p99", "overhead p50", "p99", "received"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for kind, values in figures.items():
        cells = [
            f"{values[group][name]:.1f}"
            for group in ("ros_ms", "alone_ms", "overhead_ms")
            for name in ("p50", "p99")
        ]
        shown.add_row(kind, *cells, f"{values['received']}/{values['sent']}")
    return shown


def machine() -> dict[str, Any]:
    """Facts that a figure depends on."""
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    gpu = ""
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        gpu = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        pass
    return {
        "cpu": cpu[0].partition(":")[2].strip() if cpu else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "gpu": gpu,
        "real_time_priority": os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR),
        "python": platform.python_version(),
        "avperception": __version__,
    }


def main(
    cameras: Annotated[int, typer.Option(help="1 to 8.", min=1, max=8)] = 3,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of the images.")] = "1280x720",
    seconds: Annotated[float, typer.Option(help="That count, of each round.", min=1.0)] = 15.0,
    rounds: Annotated[int, typer.Option(help="Rounds of each way, in turns.", min=1)] = 3,
    backend: Annotated[str, typer.Option(help="onnxruntime, tensorrt or auto.")] = "onnxruntime",
    detector: Annotated[str, typer.Option(help="A model card; default: a network of almost no work.")] = "",
    segmenter: Annotated[str, typer.Option(help="A model card; default: none.")] = "",
    precision: Annotated[str, typer.Option(help="fp32, fp16, int8.")] = "fp32",
    engine_policy: Annotated[str, typer.Option(help="strict or rebuild.")] = "rebuild",
    out: Annotated[Path | None, typer.Option(help="Where the JSON goes.")] = None,
) -> None:
    """Measure the way through ROS against the pipeline alone."""
    out = out or HERE / "results" / f"ros_latency_{time.strftime('%Y-%m-%d')}.json"
    width, height = map(int, size.split("x"))
    ros, alone, loads = [], [], []
    with tempfile.TemporaryDirectory(prefix="ros_latency_") as name:
        folder = Path(name)
        write_sensors(folder / "sensors.npz", cameras, width, height)
        parameters = {
            "cameras": [f"camera_{number}" for number in range(cameras)],
            "backend": backend,
            "engine_policy": engine_policy,
            "threads": 0 if detector else 1,
            "detector": {"model": detector or str(write_small_detector(folder)), "precision": precision},
            "segmenter": {"model": segmenter, "precision": precision},
        }
        (folder / "parameters.yaml").write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}))
        measure_alone(folder, 1.0)  # engines and kernels are built and compiled by whoever comes first
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            alone.append(measure_alone(folder, seconds))
            ros.append(measure_ros(folder, seconds, wants_masks=bool(segmenter)))
            loads.append(round(os.getloadavg()[0], 2))
        digest = hashlib.sha256((folder / "sensors.npz").read_bytes()).hexdigest()
    figures = summary(ros, alone)
    record = {
        "benchmark": "ros_latency",
        "command": shlex.join(["python", f"benchmarks/{Path(__file__).name}", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d %H:%M:%S%z"),
        "machine": machine(),
        "cameras": f"{cameras} x {size} bgr8 at {CAMERA_RATE:g} Hz",
        "lidar": f"{POINTS} points at {LIDAR_RATE:g} Hz",
        "sensors_sha256": digest,
        "networks": {**parameters, "detector": detector or "of almost no work", "segmenter": segmenter},
        "seconds": seconds,
        "load_average": loads,
        "summary": figures,
        "rounds_p50_ms": {
            kind: {
                "ros": [round(statistics.median(one[kind]), 2) for one in ros if one[kind]],
                "alone": [round(statistics.median(one[kind]), 2) for one in alone if one[kind]],
            }
            for kind in KINDS
        },
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n")
    title = f"{record['cameras']}, {record['lidar']}; medians of {rounds} rounds [ms]"
    Console(width=110).print(table(figures, title))
    print(f"written: {out}")


if __name__ == "__main__":
    typer.run(main)
