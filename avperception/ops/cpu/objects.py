"""Which of the points behind 2D boxes are the objects', on the host: all boxes of a sweep at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from avperception.ops.cpu.linking import SHORTER, SPLITS, link_points, owner_of_points
from avperception.ops.queries import EDGE, Queries
from avperception.types import Bool, Float32, Float64, Int32

Rows = NDArray[np.int64]

GRID = 12
"""Cells along each side of a 2D box in which the share that a group covers is counted."""

CLOSE = 0.8
"""Groups that score this part of the best are as good; the nearest is taken."""

HEIGHT_SPREAD = 0.35
"""Spread of the logarithm of the heights within a class, from children to adults, saloons to vans."""

CENTRALITY: Float64 = np.outer(*[1.0 - np.abs((np.arange(GRID) + 0.5) / GRID * 2 - 1)] * 2).ravel()
"""What a cell of a 2D box weighs: the more, the more central it is."""


def object_points(
    positions: Float32, pixels: Float32, depths: Float32, distances: Float32, offsets: Int32, queries: Queries
) -> Bool:
    """Tell which of the points (N, 3) in 2D boxes, a list a box, are the object that the box is of (N,).

    `pixels` (N, 2), `depths` and `distances` (N,) are those of the box's own camera. The points of a box
    are parted into groups, and those too long for its class again. The object is the group of the best
    score; of those that come close, the nearest. A box with too few points in every group has none.
    """
    points = _BoxPoints(positions, pixels, depths, distances, owner_of_points(offsets), queries)
    reach = _reach(distances, offsets, queries)
    places = np.flatnonzero((np.diff(offsets) >= queries["min_points"])[points.owners])
    parents = points.owners[places]
    levels: list[_Groups] = []
    while len(places) and len(levels) <= SPLITS:
        groups = link_points(positions[places], parents, reach[points.owners[places]])
        level = _parted(points, places, parents, groups, is_first=not levels)
        levels.append(level)
        remains = level.is_too_long[groups]
        places, parents = places[remains], groups[remains]
        reach = reach * SHORTER
    return _chosen(levels, len(positions), len(queries)) if levels else np.zeros(len(positions), bool)


def _reach(distances: Float32, offsets: Int32, queries: Queries) -> Float32:
    """How far points of each box's object may be apart: a fifth of its points are no farther away."""
    reach = queries["reach"].copy()
    for box, (begin, end) in enumerate(pairwise(offsets.tolist())):
        if begin < end:
            fifth = (end - begin - 1) // 5
            distance = np.partition(distances[begin:end], fifth)[fifth]
            reach[box] += queries["reach_per_metre"][box] * distance
    return np.asarray(reach, dtype=np.float32)


class _BoxPoints:
    """The points in boxes, each with its owner, the box, and the cell of the box that it lies in."""

    def __init__(
        self,
        positions: Float32,
        pixels: Float32,
        depths: Float32,
        distances: Float32,
        owners: Rows,
        queries: Queries,
    ) -> None:
        self.extent_columns = np.concatenate([positions[:, :2], pixels], axis=1)
        self.depths = depths
        self.distances = distances
        self.owners = owners
        self.queries = queries
        low = queries["box"][owners, :2]
        size = np.maximum(queries["box"][owners, 2:] - low, np.float32(1e-3))
        column = np.clip((pixels - low) / size * np.float32(GRID), 0, GRID - 1).astype(np.int64)
        self.cells = column[:, 0] * GRID + column[:, 1]
        self.everything = _covered(self.cells, owners, len(queries))


def _covered(cells: Rows, groups: Rows, count: int) -> Float64:
    """Add up what the cells weigh that points of each of `count` groups lie in."""
    is_covered = np.zeros((count, GRID * GRID), bool)
    is_covered[groups, cells] = True
    return np.asarray(is_covered @ CENTRALITY)


@dataclass(frozen=True)
class _Groups:
    """The groups (G,) into which one reach parted points: `groups` (N,) of those at `places` (N,).

    `scores` are -1 for what cannot be an object: too few points, or the same group as with more reach.
    `distances` [m] are means.
    """

    places: Rows
    groups: Rows
    owners: Rows
    scores: Float64
    distances: Float64
    is_too_long: Bool


def _parted(points: _BoxPoints, places: Rows, parents: Rows, groups: Rows, *, is_first: bool) -> _Groups:
    """Tell what speaks for each group of the points at some places, parts of the groups `parents`."""
    counts = np.bincount(groups)
    order = np.argsort(groups, kind="stable")
    starts = np.cumsum(counts) - counts
    first = order[starts]
    owners = points.owners[places[first]]
    queries = points.queries[owners]
    columns = points.extent_columns[places[order]]
    low, high = (limit.reduceat(columns, starts, axis=0) for limit in (np.minimum, np.maximum))
    lengths = np.linalg.norm((high - low)[:, :2], axis=1)
    depths = np.bincount(groups, points.depths[places]) / counts
    share = _covered(points.cells[places], groups, len(counts)) / points.everything[owners]
    scores = _overlap(low[:, 2:], high[:, 2:], queries["box"]) * np.sqrt(share)
    scores *= _likeness(lengths, depths, queries)
    has_enough = counts >= queries["min_points"]
    is_new = is_first | (counts < np.bincount(parents)[parents[first]])
    return _Groups(
        places=places,
        groups=groups,
        owners=owners,
        scores=np.where(has_enough & is_new, scores, -1.0),
        distances=np.bincount(groups, points.distances[places]) / counts,
        is_too_long=has_enough & (lengths > queries["longest"]),
    )


def _overlap(low: Float32, high: Float32, boxes: Float32) -> Float64:
    """Overlap (IoU) of extents in the image with boxes; little, but something, where there is none."""
    inner = np.minimum(high, boxes[:, 2:]) - np.maximum(low, boxes[:, :2])
    common = np.prod(inner, axis=1, dtype=np.float64)
    areas = [np.prod(upper - lower, axis=1) for lower, upper in ((low, high), (boxes[:, :2], boxes[:, 2:]))]
    return np.where((inner <= 0).any(axis=1), 1e-3, common / (areas[0] + areas[1] - common))


def _likeness(lengths: Float32, depths: Float64, queries: Queries) -> Float64:
    """How well a group's length, and the height of the 2D box at its depth, agree with the class, 0 to 1."""
    box, typical = queries["box"], queries["size"][:, 2]
    is_known = typical > 0
    excess = np.maximum(0.0, lengths / queries["longest"] - 1.0)
    heights = (box[:, 3] - box[:, 1]) * depths / queries["focal"]
    ratio = np.log(np.maximum(heights, 0.01) / np.where(is_known, typical, 1.0))
    is_cut = (box[:, 1] < EDGE) | (box[:, 3] > queries["image_size"][:, 1] - EDGE)
    ratio[is_cut & (ratio < 0)] = 0.0  # it is higher than what the image shows of it
    likeness = np.exp(-(excess**2) / 0.5 - 0.5 * (ratio / HEIGHT_SPREAD) ** 2)
    return np.where(is_known, likeness, 1.0)


def _chosen(levels: Sequence[_Groups], points: int, boxes: int) -> Bool:
    """Mark the points of the group that is best for each box; of several the first of the longest reach."""
    owners = np.concatenate([level.owners for level in levels])
    scores = np.concatenate([level.scores for level in levels])
    distances = np.concatenate([level.distances for level in levels])
    best = np.zeros(boxes)
    np.maximum.at(best, owners, scores)
    close = np.flatnonzero((scores >= 0) & (scores >= CLOSE * best[owners]))
    nearest_first = close[np.lexsort((distances[close], owners[close]))]
    _, first = np.unique(owners[nearest_first], return_index=True)
    is_best = np.zeros(len(owners), bool)
    is_best[nearest_first[first]] = True
    ends = np.cumsum([len(level.owners) for level in levels])
    chosen = np.zeros(points, bool)
    for level, is_object in zip(levels, np.split(is_best, ends[:-1]), strict=True):
        chosen[level.places[is_object[level.groups]]] = True
    return chosen
