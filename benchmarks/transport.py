"""What a 1080p camera costs between two processes, as ROS 2 is installed and with this package's settings.

    python benchmarks/transport.py [--rounds 5] [--messages 150] [--out FILE.json]

A publisher process sends 1920x1080 rgb8 images (6.2 MB) at 30 Hz, a subscriber process takes them as the
`perception` node does (typed, keep last 5, single-threaded executor). "ours" sets the malloc thresholds and
config/fastdds.xml in both. The two settings take turns, so that a busy machine disturbs them alike; the
table shows medians over the rounds (faults: page faults of the subscriber per message), the JSON file every
round. Latency is from the stamp in the header,
taken just before the message is published, to the callback.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

HERE = Path(__file__).resolve().parent
SETTINGS = ("as installed", "ours")
RELIABILITIES = ("best_effort", "reliable")
MEDIANS = (
    "received",
    "latency_p50_ms",
    "latency_p99_ms",
    "cpu_percent",
    "page_faults_per_message",
    "peak_memory_mib",
)
NOT_INHERITED = ("FASTRTPS_", "FASTDDS_", "RMW_", "MALLOC_", "GLIBC_TUNABLES")
QUIET_S = 0.5
"""How long the last message may take before it counts as lost."""
PATIENCE_S = 60.0
"""How long a process may take to answer, beyond the time that the images themselves take."""


@dataclass(frozen=True)
class Round:
    """One publisher and one subscriber process, `sent` messages; latencies and lateness in milliseconds."""

    settings: str
    reliability: str
    round: int
    sent: int
    received: int
    damaged: int
    latency_p50_ms: float
    latency_p99_ms: float
    cpu_percent: float
    page_faults_per_message: float
    peak_memory_mib: int
    publisher_late_ms: float
    load_average: float


def environment() -> dict[str, str]:
    """The environment of both processes: Fast DDS and malloc as installed, apart from other ROS processes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
    kept["RMW_IMPLEMENTATION"] = "rmw_fastrtps_cpp"
    kept.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 101))
    kept.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    return kept


@contextmanager
def process(role: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A child process that is asked to leave at the end, and made to leave if it does not."""
    command = [sys.executable, str(HERE / "transport_process.py"), role, *map(str, arguments)]
    child = subprocess.Popen(
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    try:
        yield child
        child.stdin.close()
        child.wait(timeout=20)
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait(timeout=20)


def tell(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def answer(child: subprocess.Popen[str], within_s: float = PATIENCE_S) -> dict[str, Any]:
    """The child's next report, past what Fast DDS writes between. Raises RuntimeError if none comes."""
    assert child.stdout is not None
    patience = threading.Timer(within_s, child.terminate)
    patience.start()
    try:
        for line in child.stdout:
            if line.startswith("@"):
                reported: dict[str, Any] = json.loads(line[1:])
                return reported
    finally:
        patience.cancel()
    raise RuntimeError("a measured process gave no answer: see its message above")


def measure(
    settings: str, reliability: str, number: int, messages: int, rate: float
) -> tuple[Round, dict[str, str]]:
    """One round: warm up until the subscriber has heard enough, then count. Also the versions loaded."""
    arguments = (settings, reliability, messages, rate)
    with process("subscriber", *arguments) as subscriber, process("publisher", *arguments) as publisher:
        answer(subscriber)
        tell(publisher)
        sent = answer(publisher, PATIENCE_S + messages / rate)
        time.sleep(QUIET_S)
        tell(subscriber)
        got = answer(subscriber)
        tell(publisher)
    latencies = got["latencies_ms"] or [float("inf")]
    return Round(
        settings=settings,
        reliability=reliability,
        round=number,
        sent=sent["sent"],
        received=got["received"],
        damaged=got["damaged"],
        latency_p50_ms=float(np.percentile(latencies, 50)),
        latency_p99_ms=float(np.percentile(latencies, 99)),
        cpu_percent=got.get("cpu_percent", 0.0),
        page_faults_per_message=got.get("page_faults_per_message", 0.0),
        peak_memory_mib=got["peak_memory_mib"],
        publisher_late_ms=sent["late_ms"],
        load_average=os.getloadavg()[0],
    ), got["versions"]


def summary(rounds: list[Round]) -> dict[str, float]:
    """Medians over the rounds of one setting, and the worst round's count."""
    medians = {name: round(statistics.median(getattr(one, name) for one in rounds), 2) for name in MEDIANS}
    lossless = sum(one.received == one.sent and not one.damaged for one in rounds)
    return {**medians, "received_worst": min(one.received for one in rounds), "rounds_without_loss": lossless}


def machine(versions: dict[str, str]) -> dict[str, Any]:
    """Facts that a figure depends on."""
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": cpu[0].partition(":")[2].strip() if cpu else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}, {' '.join(platform.libc_ver())}",
        "python": platform.python_version(),
        **versions,
    }


def table(summaries: dict[str, dict[str, dict[str, float]]], messages: int, rounds: int) -> Table:
    shown = Table(
        title=f"1920x1080 rgb8 between two processes, medians of {rounds} rounds",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
    )
    for heading in ("QoS", "settings"):
        shown.add_column(heading, no_wrap=True)
    for heading in (f"of {messages}", "lossless", "p50 ms", "p99 ms", "CPU %", "faults"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for reliability, by_settings in summaries.items():
        for settings, values in by_settings.items():
            shown.add_row(
                reliability,
                settings,
                f"{values['received']:.0f}",
                f"{values['rounds_without_loss']}/{rounds}",
                f"{values['latency_p50_ms']:.1f}",
                f"{values['latency_p99_ms']:.1f}",
                f"{values['cpu_percent']:.0f}",
                f"{values['page_faults_per_message']:.0f}",
            )
    return shown


def main(
    messages: Annotated[int, typer.Option(help="Images that count, after the warm-up.", min=2)] = 150,
    rate: Annotated[float, typer.Option(help="Images a second.", min=0.1)] = 30.0,
    rounds: Annotated[int, typer.Option(help="Rounds of each setting.", min=1)] = 5,
    settings: Annotated[list[str] | None, typer.Option(help="Only these: 'as installed', ours.")] = None,
    reliability: Annotated[list[str] | None, typer.Option(help="Only these: best_effort, reliable.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the JSON goes.")] = None,
) -> None:
    """Measure image transport between two processes, as installed against this package's settings."""
    out = out or HERE / "results" / f"transport_{time.strftime('%Y-%m-%d')}.json"
    plan = [
        (one_setting, one_reliability, number)
        for one_reliability in reliability or RELIABILITIES
        for number in range(rounds)
        for one_setting in settings or SETTINGS
    ]
    measured: list[Round] = []
    versions: dict[str, str] = {}
    with Progress(console=Console(stderr=True)) as progress:
        for one in progress.track(plan, description="rounds"):
            result, versions = measure(*one, messages=messages, rate=rate)
            measured.append(result)
    summaries: dict[str, dict[str, dict[str, float]]] = {}
    for one_setting, one_reliability, _ in plan:
        same = [one for one in measured if (one.settings, one.reliability) == (one_setting, one_reliability)]
        summaries.setdefault(one_reliability, {})[one_setting] = summary(same)
    record = {
        "benchmark": "transport",
        "command": shlex.join(["python", f"benchmarks/{Path(__file__).name}", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d %H:%M:%S%z"),
        "machine": machine(versions),
        "image": "1920x1080 rgb8, 6220800 bytes",
        "rate_hz": rate,
        "messages": messages,
        "summary": summaries,
        "rounds": [asdict(one) for one in measured],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n")
    console = Console()
    console.print(table(summaries, messages, rounds))
    for name, by_settings in summaries.items():
        if len(by_settings) == len(SETTINGS):
            installed, ours = (by_settings[one]["latency_p50_ms"] for one in SETTINGS)
            console.print(f"{name}: ours is {installed / ours:.1f} times as fast at the median latency")
    console.print(f"written: {out}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
