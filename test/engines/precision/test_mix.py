"""When a mix does not hold what was asked for: each further try is another mix."""

from __future__ import annotations

from typing import Any

import pytest

from avperception.engines.precision.integer import prepare_int8
from avperception.engines.precision.judge import Verdict
from avperception.engines.precision.request import NoMixError

DROPS = {"a": 0.004, "b": 0.003, "c": 0.002, "d": 0.001}
"""What each node costs in INT8, as if they added up."""


class Network:
    """A network that stands for which of its nodes are left out of INT8."""

    nodes = tuple(DROPS)
    kept: dict[str, str] = {}  # noqa: RUF012

    def with_qdq(self, excluded: Any) -> frozenset[str]:
        return frozenset(excluded)

    written = with_qdq


class Images:
    """A judge that finds `always` and `factor` times what the nodes cost, and remembers what it saw."""

    measurable = True
    images = 8

    def __init__(self, factor: float, always: float = 0.0) -> None:
        self._factor = factor
        self._always = always
        self.shown: list[frozenset[str]] = []

    def __call__(self, excluded: frozenset[str]) -> Verdict:
        self.shown.append(excluded)
        drop = self._always + self._factor * sum(cost for node, cost in DROPS.items() if node not in excluded)
        return Verdict(drop, {}, drop, drop)


def search(max_drop: float, held_out: Images) -> Any:
    return prepare_int8(Network(), max_drop, Images(1.0), held_out, lambda stage, done, total: None)  # type: ignore[arg-type]


def test_a_mix_that_fails_on_held_out_images_is_not_tried_again():
    held_out = Images(5.0)
    result = search(0.02, held_out)
    assert len(held_out.shown) == len(set(held_out.shown)) > 1
    assert result.held_out.drop <= 0.02
    assert {exception.name for exception in result.exceptions} == {"a", "b"}
    assert len(set(result.notes)) == len(result.notes) == len(held_out.shown) - 1


def test_where_no_mix_holds_that_is_said_with_the_last_one():
    held_out = Images(1.0, always=0.01)
    with pytest.raises(NoMixError, match=r"max_drop 0\.50% .*the last mix .* 8 images held out") as refused:
        search(0.005, held_out)
    assert {node: row.drop for row in refused.value.table for node in row.nodes} == pytest.approx(DROPS)
    assert len(held_out.shown) == len(set(held_out.shown)) > 1
