"""Statuses for `/diagnostics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

PREFIX = "perception: "
"""Begins the name of every status of the node."""


class Level(IntEnum):
    """How bad a thing is, in the numbers of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Problem:
    """Something that is not as it should be, in a few words."""

    level: Level
    text: str


def status(
    name: str, problems: Sequence[Problem], values: Mapping[str, str], fine: str = "ok"
) -> DiagnosticStatus:
    """Make one status under the node's name, as bad as its worst problem, which comes first."""
    ordered = sorted(problems, key=lambda problem: -problem.level)
    level = ordered[0].level if ordered else Level.OK
    return DiagnosticStatus(
        level=bytes([level]),
        name=PREFIX + name,
        message="; ".join(problem.text for problem in ordered) or fine,
        hardware_id="avperception",
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def diagnostic_array(header: Header, statuses: Sequence[DiagnosticStatus]) -> DiagnosticArray:
    """Make the message."""
    return DiagnosticArray(header=header, status=list(statuses))
