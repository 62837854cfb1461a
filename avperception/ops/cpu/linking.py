"""Groups of points that belong together on the ground, on the host."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from avperception.types import Bool, Float32, Int32

Rows = NDArray[np.int64]

CELLS_OF_REACH = 4
"""Points are gathered in cells of this part of the reach: a wall of thousands has millions of pairs."""

SPLITS = 3
"""How often a group that is too long for its class is tried again, each time with SHORTER of the reach."""

SHORTER = np.float32(0.6)

_CELL_BITS = 21
_LIMIT = (1 << (_CELL_BITS - 1)) - CELLS_OF_REACH - 1
_NEIGHBOURS = [
    (x << _CELL_BITS) + y
    for x in range(CELLS_OF_REACH + 1)
    for y in range(-CELLS_OF_REACH, CELLS_OF_REACH + 1)
    if x * x + y * y <= CELLS_OF_REACH**2 and (x, y) > (0, 0)
]
"""From a cell to half of those around it that are a reach away or less; the others are the way back."""


def owner_of_points(offsets: Int32) -> Rows:
    """Give for each point of lists, list i from `offsets[i]` to `offsets[i + 1]`, the number of its list."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def link_points(positions: Float32, owners: NDArray[np.integer], reach: Float32) -> Rows:
    """Number the groups of points (N, 3) that steps of about `reach` (N,) [m] link in the ground plane.

    Points of different `owners` (N,) never are. Others are by way of the cells that they lie in, whose
    size is a quarter of the reach: those up to 0.6 of it apart are linked, beyond 1.4 none are. Groups are
    numbered in the order of their first points.
    """
    cells = np.floor(positions[:, :2] / (reach / np.float32(CELLS_OF_REACH))[:, None])
    cells = np.clip(cells, -_LIMIT, _LIMIT).astype(np.int64) + (1 << (_CELL_BITS - 1))
    keys = (owners.astype(np.int64) << 2 * _CELL_BITS) + (cells[:, 0] << _CELL_BITS) + cells[:, 1]
    used, cell_of_point = np.unique(keys, return_inverse=True)
    pairs = [_pairs(used, step) for step in _NEIGHBOURS]
    first, second = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    links = coo_matrix((np.ones(len(first), np.int8), (first, second)), shape=(len(used),) * 2)
    _, group_of_cell = connected_components(links, directed=False)
    return _in_order_of_first(group_of_cell[cell_of_point.ravel()])


def _pairs(keys: Rows, step: int) -> tuple[Rows, Rows]:
    """Places of the sorted `keys` of which the one has a key greater by `step` than the other."""
    places = np.searchsorted(keys, keys + step)
    places[places == len(keys)] = 0
    first = np.flatnonzero(keys[places] == keys + step)
    return first, places[first]


def _in_order_of_first(groups: NDArray[np.integer]) -> Rows:
    first = np.full(int(groups.max(initial=-1)) + 1, len(groups))
    np.minimum.at(first, groups, np.arange(len(groups)))
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[groups]


def joined_points(positions: Float32, is_own: Bool, offsets: Int32, reach: Float32, longest: Float32) -> Bool:
    """Tell which points (N, 3) of lists are an object's: `is_own` ones (N,), and others linked with them.

    A list, an object and what may be more of it, is linked by steps of `reach` (L,) [m]. Where its own
    points and those linked with most of them are together beyond `longest` (L,) [m], a shorter reach is
    tried, and in the end only its own remain.
    """
    owners = owner_of_points(offsets)
    is_joined = is_own.copy()
    is_open = np.ones(len(reach), bool)
    for _ in range(SPLITS):
        places = np.flatnonzero(is_open[owners])
        if not len(places):
            break
        groups = link_points(positions[places], owners[places], reach[owners[places]])
        for own_list, group in _groups_of_most(owners[places], groups, is_own[places]):
            linked = places[groups == group]
            if np.linalg.norm(np.ptp(positions[linked, :2], axis=0)) <= longest[own_list]:
                is_joined[linked] = True
                is_open[own_list] = False
        reach = reach * SHORTER
    return is_joined


def _groups_of_most(owners: Rows, groups: Rows, is_own: Bool) -> list[tuple[int, int]]:
    """Give for each owner the group with most of its own points; of several the first."""
    counts = np.bincount(groups, is_own)
    owner_of_group = np.empty(len(counts), np.int64)
    owner_of_group[groups] = owners
    order = np.lexsort((-counts, owner_of_group))
    _, first = np.unique(owner_of_group[order], return_index=True)
    return [(int(owner_of_group[group]), int(group)) for group in order[first]]
