"""`avperception`: the command line's entry, and how a command ends that cannot go on."""

from __future__ import annotations

import sys

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line; an error a user can mend is one line on stderr and exit code 2."""
    try:
        _run()
    except KeyboardInterrupt:  # in the second that the imports take, too
        print("interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)


def _run() -> None:
    from rich.console import Console
    from rich.markup import escape

    from avperception.cli.application import app
    from avperception.errors import AvperceptionError

    try:
        app()
    except AvperceptionError as error:
        Console(stderr=True, soft_wrap=True).print(
            f"[bold red]error:[/] {escape(str(error))}", highlight=False
        )
        sys.exit(EXIT_BAD_INPUT)
