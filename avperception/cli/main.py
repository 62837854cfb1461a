"""`avperception`: the command line's entry, and how a command ends that cannot go on."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

from avperception.errors import AvperceptionError

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line; an error a user can mend is one line on stderr and exit code 2."""
    interruption = _Interruption()
    try:
        from avperception.cli.application import app

        app()
    except KeyboardInterrupt:  # in the second that the imports take, too
        _end_interrupted()
    except Exception as error:
        if interruption.came:
            _end_interrupted()
        if not isinstance(error, AvperceptionError):
            raise
        _end_with(error)


def _end_with(error: Exception) -> NoReturn:
    from rich.console import Console
    from rich.markup import escape

    Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
    sys.exit(EXIT_BAD_INPUT)


def _end_interrupted() -> NoReturn:
    print("interrupted", file=sys.stderr)
    sys.exit(EXIT_INTERRUPTED)


class _Interruption:
    """Ctrl-C raises KeyboardInterrupt and is remembered.

    An extension module that meets it while it is imported makes an ImportError of it, which would come out
    as a traceback.
    """

    def __init__(self) -> None:
        self.came = False
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not ignored by who started us
            signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        raise KeyboardInterrupt
