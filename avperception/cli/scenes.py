"""`avperception scenes`: a synthetic road with exact ground truth, as a recording."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from avperception.cli.progress import interruptible, progress_bar
from avperception.errors import ConfigurationError
from avperception.scenes import CONDITIONS, MIXED, ROADS, Rig, Scene, default_rig, write_recording
from avperception.scenes.calibration_file import read_camera

app = typer.Typer(help="A synthetic road with exact ground truth.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `make` a command of its own."""


@app.command()
def make(
    target: Annotated[Path, typer.Argument(metavar="OUT.mcap", help="The recording to write.")],
    seconds: Annotated[float, typer.Option(metavar="S", help="How long.")] = 10.0,
    cameras: Annotated[int, typer.Option(help="How many of front, left and right.")] = 3,
    condition: Annotated[
        str, typer.Option(help=f"{', '.join(CONDITIONS)}, or {MIXED}: all in turn.")
    ] = "day",
    seed: Annotated[int, typer.Option(help="Another number is another road; the same, the same bytes.")] = 0,
    road: Annotated[str, typer.Option(help=" or ".join(ROADS) + ".")] = "curved",
    beams: Annotated[int, typer.Option(help="Of the lidar: 32 or 64.")] = 64,
    rate: Annotated[float, typer.Option(metavar="HZ", help="Frames a second.")] = 10.0,
    min_range: Annotated[float, typer.Option(metavar="M", help="Nearest range of the lidar.")] = 1.0,
    max_range: Annotated[float, typer.Option(metavar="M", help="Farthest range of the lidar.")] = 100.0,
    raw_points: Annotated[
        bool, typer.Option("--raw-points", help="Leave the ego vehicle's motion during a turn in the points.")
    ] = False,
    calibration: Annotated[
        list[str] | None,
        typer.Option(metavar="CAM=FILE", help="ROS calibration YAML for a camera; repeat for several."),
    ] = None,
    compress: Annotated[
        bool, typer.Option("--compress", help="Pack with zstd: a third smaller, slower.")
    ] = False,
    processes: Annotated[int | None, typer.Option(help="That render at once; default: one a core.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT.mcap if it exists.")] = False,
) -> None:
    """Render a seeded road: cameras, lidar, transforms and ground truth."""
    if processes is not None and processes < 1:
        raise ConfigurationError(f"{processes} processes are not possible: give 1 or more")
    rig = _rig(cameras, beams, calibration or [])
    if rig.lidar is not None:
        lidar = replace(rig.lidar, min_range=min_range, max_range=max_range, compensated=not raw_points)
        rig = replace(rig, lidar=lidar)
    scene = Scene(seed, condition, road, seconds, rig, rate)
    begin = time.monotonic()
    with interruptible(f"nothing was written to {target}"), progress_bar(target.name) as progress:
        summary = write_recording(
            scene, target, overwrite=force, compress=compress, processes=processes, progress=progress
        )
    spent = time.monotonic() - begin
    megabytes = target.stat().st_size / 1e6
    typer.echo(
        f"{target}: {summary.frames} frames, {summary.messages} messages, {megabytes:.1f} MB "
        f"in {spent:.1f} s ({summary.frames / spent:.1f} frames/s)"
    )


def _rig(cameras: int, beams: int, calibrations: list[str]) -> Rig:
    rig = default_rig(cameras, beams)
    models = {}
    for entry in calibrations:
        name, _, file = entry.partition("=")
        rig.camera(name)
        if not file:
            raise ConfigurationError(f"--calibration {entry}: give it as CAM=FILE, such as front=front.yaml")
        models[name] = read_camera(Path(file), name)
    changed = tuple(replace(c, model=models.get(c.name, c.model)) for c in rig.cameras)
    return replace(rig, cameras=changed)
