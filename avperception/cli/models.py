"""`avperception models`: which networks there are, getting them, and checking them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from avperception.engines import Engine, TensorSpec, load_engine
from avperception.errors import AvperceptionError, ModelError
from avperception.models.card import ModelCard
from avperception.models.check import check_network
from avperception.models.library import (
    NetworkState,
    card_paths,
    find_card,
    how_to_get,
    load_named,
    locate,
    model_directory,
    network_path,
    network_state,
)
from avperception.models.store import pull

EXIT_FAILURES = 1

app = typer.Typer(help="List, fetch and check the networks.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A model's name, or the path of its card (.yaml).")]

_STYLES = {
    NetworkState.READY: "green",
    NetworkState.NOT_PULLED: "yellow",
    NetworkState.ALTERED: "bold red",
}


@app.command("list")
def list_models() -> None:
    """Show every model: its task, its licence, and whether its network is here and unaltered."""
    table = Table("model", "task", "classes", "licence", "state", box=None, header_style="bold")
    failures = []
    for name, path in card_paths().items():
        try:
            card = load_named(path)
            state = network_state(card)
        except ModelError as error:
            failures.append(error)
            table.add_row(escape(name), "", "", "", "[bold red]unusable[/]")
        else:
            shown = f"[{_STYLES[state]}]{state.value}[/]"
            table.add_row(name, card.task, str(len(card.classes)), escape(card.licence), shown)
    Console().print(table)
    typer.echo(f"\nNetworks are kept in {model_directory()}; `avperception models pull NAME` gets one.")
    for failure in failures:
        typer.echo(f"unusable: {failure}", err=True)
    if failures:
        raise typer.Exit(EXIT_FAILURES)


@app.command("pull")
def pull_model(
    name: Name,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Take it from this file, not from the network."),
    ] = None,
) -> None:
    """Get a model's network from its source or from a file, verified and written whole or not at all."""
    card = find_card(name)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        bar = progress.add_task(escape(card.file), total=None)
        path = pull(card, source, lambda done, size: progress.update(bar, completed=done, total=size))
    typer.echo(f"{card.name}: {path}, sha256 verified, licence {card.licence}")


@app.command("check")
def check_models(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One model; all that are here.")
    ] = None,
) -> None:
    """Verify the sha256 of networks, load them, and compare their tensors with their cards.

    Without a NAME, a network that is not pulled is said to be so and is no failure.
    """
    if name:
        failed = not _check(find_card(name))
    else:
        failed = False
        for path in card_paths().values():
            failed |= not _check_if_here(path)
    if failed:
        raise typer.Exit(EXIT_FAILURES)


def _check_if_here(path: Path) -> bool:
    try:
        card = load_named(path)
    except ModelError as error:
        _say(path.stem, "failed", str(error))
        return False
    if network_path(card) is None:
        _say(card.name, "not pulled", how_to_get(card))
        return True
    return _check(card)


def _check(card: ModelCard) -> bool:
    """Check one model and say the result in one line; True if it is as its card says."""
    try:
        engine = load_engine(locate(card))
        check_network(card, engine)
    except AvperceptionError as error:
        _say(card.name, "failed", str(error))
        return False
    _say(card.name, "ok", _summary(card, engine))
    return True


def _summary(card: ModelCard, engine: Engine) -> str:
    shown = [f"{card.input.tensor} {_shape(engine.inputs[card.input.tensor])}"]
    shown += [f"{output} {_shape(engine.outputs[output])}" for output in card.decoder.outputs]
    return (
        f"{' -> '.join([shown[0], ', '.join(shown[1:])])}, {len(card.classes)} classes; {engine.description}"
    )


def _shape(spec: TensorSpec) -> str:
    return f"{'x'.join(map(str, spec.shape))} {spec.dtype.name}"


def _say(name: str, state: str, text: str) -> None:
    colour = {"ok": typer.colors.GREEN, "failed": typer.colors.RED}.get(state, typer.colors.YELLOW)
    typer.echo(f"{name}: {typer.style(state, fg=colour)}: {text}")
