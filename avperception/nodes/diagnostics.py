"""Statuses for `/diagnostics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from std_msgs.msg import Header

DEFAULT_NODE = "/perception"
"""What the node is called unless it is renamed or in a namespace."""


def prefix_of(node: str) -> str:
    """Give what the name of every status of a node begins with, for the node's full name."""
    return f"{node.removeprefix('/') if node == DEFAULT_NODE else node}: "


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
    name: str,
    problems: Sequence[Problem],
    values: Mapping[str, str],
    fine: str = "ok",
    node: str = DEFAULT_NODE,
) -> DiagnosticStatus:
    """Make one status under the node's name, as bad as its worst problem, which comes first."""
    ordered = sorted(problems, key=lambda problem: -problem.level)
    level = ordered[0].level if ordered else Level.OK
    return DiagnosticStatus(
        level=bytes([level]),
        name=prefix_of(node) + name,
        message="; ".join(problem.text for problem in ordered) or fine,
        hardware_id="avperception",
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )


def diagnostic_array(header: Header, statuses: Sequence[DiagnosticStatus]) -> DiagnosticArray:
    """Make the message."""
    return DiagnosticArray(header=header, status=list(statuses))
