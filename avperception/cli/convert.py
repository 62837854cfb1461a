"""`avperception convert`: other data into a rosbag2 recording."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from avperception.bags import BagWriter, ConversionSummary, convert_kitti, convert_video
from avperception.bags.video import CAMERA_HEIGHT_M, FOV_DEGREES
from avperception.cli.progress import interruptible, progress_bar

EXIT_FAILURES = 1
SHOWN_FAILURES = 10

app = typer.Typer(help="Make a rosbag2 recording (MCAP) from other data.", no_args_is_help=True)

Target = Annotated[Path, typer.Argument(metavar="OUT.mcap", help="The recording to write.")]
Force = Annotated[bool, typer.Option("--force", help="Replace OUT.mcap if it exists.")]
Conversion = Callable[[BagWriter, Callable[[int, int], None]], ConversionSummary]


@app.command()
def kitti(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Folder with image_2, velodyne, calib and perhaps label_2.")
    ],
    target: Target,
    force: Force = False,
) -> None:
    """Convert frames of the KITTI object detection dataset, labels as /ground_truth."""
    _run(lambda writer, progress: convert_kitti(source, writer, progress), target, force)


@app.command()
def video(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Video of a camera that looks ahead.")],
    target: Target,
    fov: Annotated[float, typer.Option(metavar="DEG", help="Horizontal field of view.")] = FOV_DEGREES,
    camera_height: Annotated[float, typer.Option(metavar="M", help="Above the ground.")] = CAMERA_HEIGHT_M,
    camera_pitch: Annotated[float, typer.Option(metavar="DEG", help="Looking down is positive.")] = 0.0,
    compressed: Annotated[bool, typer.Option("--compressed", help="Store JPEG, not pixels.")] = False,
    force: Force = False,
) -> None:
    """Convert a video; a nominal pinhole camera and its mount stand in for a calibration."""

    def conversion(writer: BagWriter, progress: Callable[[int, int], None]) -> ConversionSummary:
        return convert_video(
            source,
            writer,
            fov_degrees=fov,
            camera_height_m=camera_height,
            camera_pitch_degrees=camera_pitch,
            compressed=compressed,
            progress=progress,
        )

    _run(conversion, target, force)


def _run(conversion: Conversion, target: Path, force: bool) -> None:
    """Write `target` with a progress bar and a summary line; exit 1 if something was left out."""
    begin = time.monotonic()
    with (
        interruptible(f"nothing was written to {target}"),
        progress_bar(target.name) as progress,
        BagWriter(target, overwrite=force, compress=True) as writer,
    ):
        summary = conversion(writer, progress)
    _report(summary, writer, time.monotonic() - begin)
    if summary.failures:
        raise typer.Exit(EXIT_FAILURES)


def _report(summary: ConversionSummary, writer: BagWriter, seconds: float) -> None:
    stderr = Console(stderr=True, soft_wrap=True)
    for failure in summary.failures[:SHOWN_FAILURES]:
        stderr.print(f"incomplete: {failure}", highlight=False, markup=False)
    if len(summary.failures) > SHOWN_FAILURES:
        stderr.print(f"incomplete: {len(summary.failures) - SHOWN_FAILURES} more")
    megabytes = writer.path.stat().st_size / 1e6
    incomplete = " (incomplete)" if summary.failures else ""
    typer.echo(
        f"{writer.path}: {summary.frames} frames{incomplete}, {writer.message_count} messages, "
        f"{megabytes:.1f} MB in {seconds:.1f} s"
    )
