"""`avperception evaluate`: a recording with ground truth through the real node, scored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from avperception.cli.node_options import parameter_file
from avperception.cli.progress import interruptible, progress_bar
from avperception.replay.evaluate import SCORE_THRESHOLD
from avperception.replay.evaluate import evaluate as run_evaluation
from avperception.replay.replay import ReplayOptions

EXIT_FAILURES = 1


def evaluate(
    bags: Annotated[
        list[Path],
        typer.Argument(metavar="BAG...", help="Recordings with ground truth, as `scenes make` writes."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for evaluation.json; made if missing.")],
    detector: Annotated[str, typer.Option(help="Model card: name or path; '' for none.")] = "demo_detector",
    segmenter: Annotated[str, typer.Option(help="Model card: name or path; '' for none.")] = "demo_segmenter",
    score_threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Least score of a 2D box that takes part.")
    ] = SCORE_THRESHOLD,
    params: Annotated[Path | None, typer.Option(metavar="FILE", help="ROS parameter file (YAML).")] = None,
    points: Annotated[str | None, typer.Option(metavar="TOPIC", help="Point cloud, if several.")] = None,
) -> None:
    """Play recordings with ground truth through the perception node and score what comes out, all together.

    DIR gets evaluation.json: average precision in 2D and 3D, centre errors and mean IoU, in all and by
    condition. Exit code 0: done, 1: something was lost on the way, 2: bad input.
    """
    options = ReplayOptions(
        parameters={
            "detector.model": detector,
            "segmenter.model": segmenter,
            "detector.score_threshold": score_threshold,
        },
        ros_args=parameter_file(params),
        points=points,
    )
    with interruptible("nothing was scored"), progress_bar("evaluating") as progress:
        summary = run_evaluation(bags, out, options, progress)
    Console().print(_table(summary, out / "evaluation.json"))
    frames = summary["frames"]
    if frames["out"] < frames["in"] or frames["lost"]:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in frames["lost"].items())
        Console(stderr=True).print(
            f"{frames['out']} of {frames['in']} frames came out: {reasons or 'the log above says why'}",
            highlight=False,
        )
        raise typer.Exit(EXIT_FAILURES)


def _table(summary: Mapping[str, Any], path: Path) -> Table:
    """One column for everything and one for each condition."""
    columns = {"all": summary, **summary["by_condition"]}
    table = Table(title=f"{summary['counts']['sweeps']} sweeps, written to {path}", title_justify="left")
    table.add_column("score")
    for name in columns:
        table.add_column(name, justify="right")
    for score, label in (("ap50", "2D AP50"), ("ap3d_1m", "3D AP, 1 m")):
        for class_name in summary[score]:
            table.add_row(
                f"{label} {class_name}", *(_cell(c[score].get(class_name)) for c in columns.values())
            )
    errors = (c["centre_error_m"]["median"] for c in columns.values())
    table.add_row("median centre error", *(_cell(error, " m") for error in errors))
    table.add_row("mean IoU", *(_cell(c["miou"]) for c in columns.values()))
    return table


def _cell(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{value:.2f}{unit}"
