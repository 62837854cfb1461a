"""`avperception demo`: the whole job on a synthetic road, or on a recording of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from avperception.cli.demo_recordings import synthetic_recording, users_recording
from avperception.cli.demo_run import Job, Outcome, clear, run
from avperception.cli.demo_table import demo_table
from avperception.errors import ConfigurationError
from avperception.evaluation.boxes_2d import require_pycocotools
from avperception.models.library import find_card, locate
from avperception.replay.metrics import has_failures
from avperception.scenes import CONDITIONS, MIXED, Scene, default_rig

EXIT_FAILURES = 1
EXIT_INTERRUPTED = 130

DEMO_FOLDER = Path("out/demo")
OWN_NETWORKS = {"detector.model": "demo_detector", "segmenter.model": "demo_segmenter"}
REAL_NETWORKS = {"detector.model": "yolox_nano", "segmenter.model": "twinlitenet"}

_PANEL = "The synthetic road"
ROAD = "curved"
_DEFAULTS = {"seconds": 6.0, "cameras": 3, "condition": MIXED, "seed": 7, "rate": 5.0}

Bars = Callable[[str], Callable[[int, int], None]]
"""Begins a progress bar under a name; gives what updates it."""


def demo(
    real: Annotated[
        Path | None,
        typer.Option("--real", metavar="BAG|VIDEO", help="Play this, through yolox_nano and twinlitenet."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help=f"Default: {DEMO_FOLDER}, with --real {DEMO_FOLDER}_NAME."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="How long; default 6.", rich_help_panel=_PANEL)
    ] = None,
    cameras: Annotated[int | None, typer.Option(help="1 to 3; default 3.", rich_help_panel=_PANEL)] = None,
    condition: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(CONDITIONS)}, or (default) {MIXED}.", rich_help_panel=_PANEL),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Another number is another road.", rich_help_panel=_PANEL)
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="HZ", help="Frames a second; default 5.", rich_help_panel=_PANEL),
    ] = None,
) -> None:
    """Show the whole job: a drive through the perception node, scored, drawn and told in one page.

    Without --real it is a synthetic road (rendered on first use) and the package's own networks. DIR gets
    report.html, birds_eye.webp, overlays/*.png, metrics.json, evaluation.json and detections.mcap.
    Exit code 0: done, 1: something was lost on the way, 2: bad input.
    """
    chosen = {
        "seconds": seconds,
        "cameras": cameras,
        "condition": condition,
        "seed": seed,
        "rate": rate,
    }
    options = {name: value for name, value in chosen.items() if value is not None}
    folder = out or (DEMO_FOLDER if real is None else DEMO_FOLDER.with_name(f"demo_{real.stem}"))
    try:
        with _bars() as bar:
            job = _synthetic(options, folder, bar) if real is None else _real(real, options, folder, bar)
            outcome = run(job, bar("through the node"))
    except KeyboardInterrupt:
        Console(stderr=True, soft_wrap=True).print(
            f"interrupted: {folder} has no report.html; run it again for one", highlight=False
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None
    _tell(job, outcome)
    if has_failures(outcome.summary) or job.recording.failures:
        raise typer.Exit(EXIT_FAILURES)


def _synthetic(options: dict[str, Any], folder: Path, bar: Bars) -> Job:
    chosen = {**_DEFAULTS, **options}
    rig = default_rig(chosen["cameras"])
    scene = Scene(chosen["seed"], chosen["condition"], ROAD, chosen["seconds"], rig, chosen["rate"])
    require_pycocotools()  # before a road is rendered for nothing
    clear(folder)
    recording = synthetic_recording(scene, folder, bar("rendering the road"))
    conditions = ", ".join(scene.schedule)
    return Job(
        recording,
        folder,
        dict(OWN_NETWORKS),
        title="A drive on the synthetic road",
        intro=f"{scene.duration:g} seconds with {len(scene.rig.cameras)} cameras and a 64-beam lidar "
        f"({conditions}), rendered with exact ground truth and played through the perception node; "
        "the two networks that find objects, road and lane lines come with the package.",
        scored=True,
    )


def _real(source: Path, options: dict[str, Any], folder: Path, bar: Bars) -> Job:
    if options:
        raise ConfigurationError(
            f"--{next(iter(options))} is of the synthetic road: leave it out with --real"
        )
    for name in REAL_NETWORKS.values():  # before a video is converted for nothing
        locate(find_card(name))
    clear(folder)
    recording = users_recording(source, folder, bar("converting the video"))
    return Job(
        recording,
        folder,
        dict(REAL_NETWORKS),
        title=source.name,
        intro="A recording played through the perception node: YOLOX-Nano finds objects, TwinLiteNet the "
        "drivable area and lane lines.",
        scored=False,
    )


def _tell(job: Job, outcome: Outcome) -> None:
    frames = outcome.summary["frames"]
    title = f"{job.title}: {frames['out']} of {frames['in']} frames"
    stderr = Console(stderr=True, soft_wrap=True)
    for reason, count in frames["dropped"].items():
        stderr.print(f"dropped: {reason} ({count})", highlight=False, markup=False)
    for failure in (*job.recording.failures, outcome.summary.get("damage")):
        if failure:
            stderr.print(f"incomplete: {failure}", highlight=False, markup=False)
    Console().print(demo_table(outcome.summary, outcome.evaluation, title))
    typer.echo(f"Open {outcome.page}")


@contextmanager
def _bars() -> Iterator[Bars]:
    """Progress bars on stderr, shown on a terminal only."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def begin(name: str) -> Callable[[int, int], None]:
            tasks: list[Any] = []

            def update(done: int, total: int) -> None:
                if not tasks:  # shown from the first frame on, so that work already done shows no bar
                    tasks.append(progress.add_task(name, total=None))
                progress.update(tasks[0], completed=done, total=total)

            return update

        yield begin
