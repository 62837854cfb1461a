"""`avperception replay`: a recording through the real node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from avperception.cli.node_options import chosen_networks, parameter_file
from avperception.cli.progress import interruptible, progress_bar
from avperception.replay.metrics import has_failures
from avperception.replay.replay import ReplayOptions
from avperception.replay.replay import replay as run_replay

EXIT_FAILURES = 1


def replay(
    bag: Annotated[Path, typer.Argument(help="rosbag2 recording: MCAP or sqlite3, a file or a folder.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results; made if missing.")],
    detector: Annotated[str | None, typer.Option(help="Model card: name or path; '' for none.")] = None,
    segmenter: Annotated[str | None, typer.Option(help="Model card: name or path; '' for none.")] = None,
    params: Annotated[Path | None, typer.Option(metavar="FILE", help="ROS parameter file (YAML).")] = None,
    points: Annotated[str | None, typer.Option(metavar="TOPIC", help="Point cloud, if several.")] = None,
    pictures: Annotated[int, typer.Option(metavar="N", min=0, help="Overlay pictures at most.")] = 300,
) -> None:
    """Play a recording through the perception node in lock step and write what comes out.

    DIR gets detections.mcap (every output topic), metrics.json and overlays/*.png. The result does not
    depend on the machine's speed. Exit code 0: done, 1: something was lost on the way, 2: bad input.
    """
    options = ReplayOptions(
        parameters=chosen_networks(detector, segmenter),
        ros_args=parameter_file(params),
        points=points,
        max_pictures=pictures,
    )
    with interruptible(f"{out} holds what was done until here"), progress_bar("replaying") as progress:
        summary = run_replay(bag, out, options, progress)
    Console().print(_table(summary, out))
    if has_failures(summary):
        raise typer.Exit(EXIT_FAILURES)


def _table(summary: dict[str, Any], out: Path) -> Table:
    frames = summary["frames"]
    table = Table(title=f"{frames['out']} of {frames['in']} frames, written to {out}", title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right")
    for reason, count in frames["dropped"].items():
        table.add_row(f"[red]dropped: {reason}", str(count))
    for reason, count in summary["noted"].items():
        table.add_row(f"noted: {reason}", str(count))
    if "damage" in summary:
        table.add_row("[red]damage", summary["damage"])
    for name, count in summary["detections"].items():
        table.add_row(f"detections: {name}", str(count))
    for name, total in summary.get("truth", {}).get("objects", {}).items():
        error = summary["truth"]["centre_error_m"].get(name)
        off = f", centre off by {error['median']:.2f} m (median)" if error else ""
        table.add_row(f"truth: {name}", f"{summary['truth']['found'].get(name, 0)} of {total} found{off}")
    for stage in ("camera_latency", "detector_network", "segmenter_network", "lidar", "fusion"):
        if stage in summary["latency_ms"]:
            times = summary["latency_ms"][stage]
            table.add_row(f"{stage} p50 / p99", f"{times['p50']:.1f} / {times['p99']:.1f} ms")
    return table
