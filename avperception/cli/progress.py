"""Progress bars, and how Ctrl-C ends a command that has one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EXIT_INTERRUPTED = 130


@contextmanager
def stage_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr, shown on a terminal only; gives what updates it: stage, done, total."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)


@contextmanager
def progress_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """The same for work of one stage: done, total."""
    with stage_bar() as update:
        update(name, 0, 0)
        yield lambda done, total: update(name, done, total)


@contextmanager
def interruptible(what_is_left: str) -> Iterator[None]:
    """End the command with exit code 130 at Ctrl-C and say what is left of its work."""
    try:
        yield
    except KeyboardInterrupt:
        Console(stderr=True, soft_wrap=True).print(
            f"interrupted: {what_is_left}", highlight=False, markup=False
        )
        raise typer.Exit(EXIT_INTERRUPTED) from None
