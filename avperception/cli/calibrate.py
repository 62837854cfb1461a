"""`avperception calibrate`: calibration sets made of recordings, and what they cover."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from avperception.bags import BagReader
from avperception.calibration.collect import CollectionSummary
from avperception.calibration.collect import collect as collect_set
from avperception.calibration.report import draw_report, report_on
from avperception.calibration.set import CalibrationSet
from avperception.cli.progress import interruptible, stage_bar

app = typer.Typer(
    help="Collect images to calibrate INT8 with, and see what they cover.", no_args_is_help=True
)


@app.command()
def collect(
    bags: Annotated[list[Path], typer.Argument(metavar="BAG...", help="rosbag2 recordings.")],
    out: Annotated[Path, typer.Option(metavar="SET", help="Folder for the set; made if missing.")],
    count: Annotated[int, typer.Option(metavar="N", min=1, help="Images at most.")] = 200,
    topic: Annotated[
        list[str] | None,
        typer.Option(metavar="TOPIC", help="Only this topic, not all of cameras; repeatable."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the set if it exists.")] = False,
) -> None:
    """Choose images that cover the light, contrast and conditions of recordings, not the first N.

    SET gets PNG files and set.json with where each comes from. Images that cannot be read are skipped and
    counted, as are those that look like one already chosen.
    """
    openers = [partial(BagReader, bag) for bag in bags]
    with interruptible(f"nothing was written to {out}"), stage_bar() as progress:
        summary = collect_set(openers, out, count, tuple(topic or ()), force, progress)
    _say(summary, count)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="SET", help="A calibration set, or a folder of images.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="The picture; SET_coverage.png if not said.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the coverage as JSON.")] = False,
) -> None:
    """Say what a calibration set covers and what is missing, and draw it."""
    calibration = CalibrationSet.load(folder)
    picture = draw_report(calibration, out or _picture_beside(folder))
    summary = report_on(calibration.coverage)
    if calibration.skipped:
        typer.echo(f"skipped {calibration.skipped_text}", err=True)
    if as_json:
        coverage = {**calibration.coverage.as_dict(), "hash": calibration.hash, "missing": summary.missing}
        typer.echo(json.dumps(coverage, indent=2))
        return
    for line in summary.lines:
        typer.echo(line)
    typer.echo(f"picture: {picture}")


def _picture_beside(folder: Path) -> Path:
    """The picture's file beside the set, also for a folder that is called `.` or `..`."""
    named = folder if folder.name not in ("", "..") else folder.resolve()
    return named.parent / f"{named.name or 'set'}_coverage.png"


def _say(summary: CollectionSummary, count: int) -> None:
    calibration = summary.set
    if summary.left_out:
        typer.echo(
            f"not looked at, no camera_info is beside: {', '.join(summary.left_out)}; --topic takes one",
            err=True,
        )
    if summary.skipped:
        reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(summary.skipped.items()))
        typer.echo(f"skipped {sum(summary.skipped.values())} images: {reasons}", err=True)
    typer.echo(
        f"{calibration.folder}: {len(calibration)} of {summary.candidates} images, "
        f"sha256 {calibration.hash[:12]}..."
    )
    if len(calibration) < min(count, summary.candidates):
        typer.echo("the other images look like one of these")
    for line in report_on(calibration.coverage).lines:
        typer.echo(line)
