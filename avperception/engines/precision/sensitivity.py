"""Which nodes to leave out of INT8 so that the task's metric holds: as few as can be found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from avperception.engines.precision.judge import Verdict
from avperception.engines.precision.request import SensitivityRow

GROUPS = 16
UNITS = 32
"""Parts that the groups left out are split into and measured one by one; mostly single nodes."""

Trial = Callable[[frozenset[str]], Verdict]
"""Judges the network with these nodes left out of INT8."""


@dataclass(frozen=True)
class _Group:
    """Neighbouring nodes and what it costs to have them alone in INT8."""

    nodes: tuple[str, ...]
    drop: float
    noise: float


@dataclass(frozen=True)
class Mix:
    """The nodes left out, the drop that remains, the table, and how many networks were tried."""

    excluded: frozenset[str]
    drop: float
    rows: tuple[SensitivityRow, ...]
    trials: int


class SensitivitySearch:
    """The search over one network; what was measured once is kept for a tighter limit.

    The nodes are split into at most 16 groups of neighbours. Each group alone in INT8 gives its drop.
    The most sensitive groups are left out, as many as it takes (found by bisection); then the same is
    done with the single nodes of these groups, and each that can be is taken back in.
    """

    def __init__(self, nodes: Sequence[str], trial: Trial, progress: Callable[[int, int], None]) -> None:
        self._nodes = tuple(nodes)
        self._trial = trial
        self._progress = progress
        self._drops: dict[frozenset[str], Verdict] = {}
        self._groups: list[_Group] = []

    def run(self, limit: float) -> Mix | None:
        """Find a mix whose drop is at most `limit`; None if even without INT8 it is larger."""
        if self._drop(frozenset()) <= limit:
            return self._mix(frozenset())
        everything = frozenset(self._nodes)
        if self._drop(everything) > limit:
            return None
        self._rank()
        return self._mix(self._fewest_nodes(self._fewest(self._groups, limit), limit))

    @property
    def trials(self) -> int:
        """How many networks were run."""
        return len(self._drops)

    def _rank(self) -> None:
        """Measure each group alone, once."""
        if not self._groups:
            self._groups = self._measured(_split(self._nodes, GROUPS))

    def _measured(self, parts: Sequence[tuple[str, ...]]) -> list[_Group]:
        """Each part alone in INT8, most sensitive first; equal drops are ranked by the outputs' noise."""
        everything = frozenset(self._nodes)
        verdicts = [self._judge(everything - frozenset(part)) for part in parts]
        groups = [_Group(part, v.drop or 0.0, v.noise) for part, v in zip(parts, verdicts, strict=True)]
        return sorted(groups, key=lambda group: (-round(group.drop, 4), -group.noise))

    def _fewest(self, groups: Sequence[_Group], limit: float) -> int:
        """How many of the most sensitive have to stay out, by bisection; all of them are enough."""
        low, high = 0, len(groups)
        while high - low > 1:
            middle = (low + high) // 2
            if self._drop(self._union(groups[:middle])) <= limit:
                high = middle
            else:
                low = middle
        return high

    def _fewest_nodes(self, left_out: int, limit: float) -> frozenset[str]:
        """Of the groups left out, the nodes that have to be: ranked alone, bisected, then taken back."""
        nodes = [node for group in self._groups[:left_out] for node in group.nodes]
        units = self._measured(_split(nodes, UNITS))
        excluded = self._union(units[: self._fewest(units, limit)])
        for unit in reversed(units):
            taken_back = excluded - frozenset(unit.nodes)
            if len(taken_back) < len(excluded) and self._drop(taken_back) <= limit:
                excluded = taken_back
        return excluded

    def _mix(self, excluded: frozenset[str]) -> Mix:
        rows = []
        for group in self._groups:  # a group that is split has a row for either part
            for out in (True, False):
                nodes = tuple(node for node in group.nodes if (node in excluded) == out)
                if nodes:
                    rows.append(SensitivityRow(nodes, group.drop, out))
        return Mix(excluded, self._drop(excluded), tuple(rows), self.trials)

    def _union(self, groups: Sequence[_Group]) -> frozenset[str]:
        return frozenset(node for group in groups for node in group.nodes)

    def _drop(self, excluded: frozenset[str]) -> float:
        return self._judge(excluded).drop or 0.0

    def _judge(self, excluded: frozenset[str]) -> Verdict:
        if excluded not in self._drops:
            self._drops[excluded] = self._trial(excluded)
            expected = 2 + min(GROUPS, len(self._nodes)) + UNITS
            self._progress(self.trials, max(expected, self.trials))
        return self._drops[excluded]


def _split(nodes: Sequence[str], parts: int) -> list[tuple[str, ...]]:
    """Cut a sequence into at most `parts` parts of neighbours, as equal as can be, none of them empty."""
    parts = min(parts, len(nodes))
    borders = [round(part * len(nodes) / parts) for part in range(parts + 1)]
    return [tuple(nodes[a:b]) for a, b in pairwise(borders)]
