"""The search for what to leave out of INT8, on costs that are known."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avperception.engines.precision.judge import Verdict
from avperception.engines.precision.sensitivity import Mix, SensitivitySearch


def search(costs: dict[str, float], limit: float) -> tuple[Mix | None, list[frozenset[str]]]:
    """Search over nodes whose drops add up."""
    tried: list[frozenset[str]] = []

    def trial(excluded: frozenset[str]) -> Verdict:
        tried.append(excluded)
        drop = sum(cost for name, cost in costs.items() if name not in excluded)
        return Verdict(drop, {}, drop)

    mix = SensitivitySearch(list(costs), trial, lambda done, total: None).run(limit)
    return mix, tried


def test_all_in_int8_where_that_holds() -> None:
    mix, tried = search({f"n{i}": 1e-4 for i in range(40)}, 0.01)
    assert mix is not None
    assert mix.excluded == frozenset()
    assert len(tried) == 1


def test_two_bad_nodes_among_a_hundred_are_the_only_ones_left_out() -> None:
    costs = {f"n{i}": 1e-5 for i in range(100)} | {"n17": 0.3, "n71": 0.05}
    mix, tried = search(costs, 0.01)
    assert mix is not None
    assert mix.excluded == {"n17", "n71"}
    assert mix.drop <= 0.01
    assert len(tried) < 60
    out = [node for row in mix.rows if row.kept_out for node in row.nodes]
    assert set(out) == mix.excluded
    assert {node for row in mix.rows for node in row.nodes} == set(costs)
    assert [row.drop for row in mix.rows] == sorted((row.drop for row in mix.rows), reverse=True)


def test_nothing_is_tried_twice() -> None:
    _, tried = search({f"n{i}": 0.01 for i in range(30)}, 0.05)
    assert len(tried) == len(set(tried))


def test_none_where_even_without_int8_the_limit_is_exceeded() -> None:
    mix = SensitivitySearch(["a", "b"], lambda e: Verdict(0.2, {}, 0.2), lambda d, t: None).run(0.1)
    assert mix is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 0.2), min_size=1, max_size=50), st.floats(0.001, 0.5))
def test_the_limit_always_holds_and_no_single_node_can_be_taken_back(
    costs: list[float], limit: float
) -> None:
    named = {f"n{i}": cost for i, cost in enumerate(costs)}
    mix, _ = search(named, limit)
    assert mix is not None
    remaining = sum(cost for name, cost in named.items() if name not in mix.excluded)
    assert remaining <= limit
    assert mix.drop == pytest.approx(remaining)
