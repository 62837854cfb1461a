"""`avperception`: the command line, one file a command."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.markup import escape

from avperception import __version__
from avperception.cli import calibrate, convert, demo, doctor, engine, evaluate, models, replay, scenes
from avperception.errors import AvperceptionError

EXIT_OK = 0
EXIT_FAILURES = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
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
app.add_typer(engine.app, name="engine")
app.add_typer(calibrate.app, name="calibrate")
app.command("doctor")(doctor.doctor)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(f"avperception {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; an error a user can mend is one line on stderr and exit code 2."""
    try:
        app()
    except AvperceptionError as error:
        Console(stderr=True, soft_wrap=True).print(
            f"[bold red]error:[/] {escape(str(error))}", highlight=False
        )
        sys.exit(EXIT_BAD_INPUT)
