"""One thing that was looked at, and how it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(str, Enum):
    """How a thing is: as it should be, worth knowing but usable, or in the way."""

    OK = "OK"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """`what` is in `state`: the `text` says how it is, the `command` mends it where one does."""

    what: str
    state: State
    text: str
    command: str | None = None


def ok(what: str, text: str) -> Finding:
    """A thing that is as it should be."""
    return Finding(what, State.OK, text)


def note(what: str, text: str, command: str | None = None) -> Finding:
    """A thing that is worth knowing and in nobody's way."""
    return Finding(what, State.NOTE, text, command)


def wrong(what: str, text: str, command: str) -> Finding:
    """A thing that is in the way, and what mends it."""
    return Finding(what, State.WRONG, text, command)
