"""All commands of `avperception`, one file each."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from avperception import __version__
from avperception.cli import (
    benchmark,
    calibrate,
    convert,
    demo,
    doctor,
    engine,
    evaluate,
    models,
    replay,
    scenes,
    top,
    view,
)

EXIT_INTERRUPTED = 130


class _Commands(TyperGroup):
    """The commands; Ctrl-C in one that says nothing of it itself ends it with exit code 130."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None


app = typer.Typer(
    cls=_Commands,
    help="Camera and lidar perception for ROS 2.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(models.app, name="models")
app.add_typer(convert.app, name="convert")
app.add_typer(scenes.app, name="scenes")
app.command("demo")(demo.demo)
app.command("replay")(replay.replay)
app.command("evaluate")(evaluate.evaluate)
app.command("benchmark")(benchmark.benchmark)
app.add_typer(engine.app, name="engine")
app.add_typer(calibrate.app, name="calibrate")
app.command("doctor")(doctor.doctor)
app.command("top")(top.top)
app.command("view")(view.view)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(f"avperception {__version__}")
        raise typer.Exit
