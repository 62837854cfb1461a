"""Which of the points behind 2D boxes are the objects', on the host: all boxes of a sweep at once."""

from __future__ import annotations

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
    levels: list[_Level] = []
    for split in range(SPLITS + 1):
        if not len(places):
            break
        groups = link_points(positions[places], parents, reach[points.owners[places]])
        level = _Level(points, places, parents, groups, is_first=split == 0)
        levels.append(level)
        remains = level.is_too_long[groups]
        places, parents = places[remains], groups[remains]
        reach = reach * SHORTER
    return _chosen(levels, len(positions), len(queries))


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
        self.everything = covered(self.cells, owners, len(queries))


def covered(cells: Rows, groups: Rows, count: int) -> Float64:
    """Add up what the cells weigh that points of each of `count` groups lie in."""
    is_covered = np.zeros((count, GRID * GRID), bool)
    is_covered[groups, cells] = True
    return np.asarray(is_covered @ CENTRALITY)


class _Level:
    """The groups of those points, at `places`, that one reach was tried on, and what speaks for each."""

    def __init__(
        self, points: _BoxPoints, places: Rows, parents: Rows, groups: Rows, *, is_first: bool
    ) -> None:
        self.places, self.groups = places, groups
        counts = np.bincount(groups)
        order = np.argsort(groups, kind="stable")
        starts = np.cumsum(counts) - counts
        first = order[starts]
        self.owners = points.owners[places[first]]
        queries = points.queries[self.owners]
        columns = points.extent_columns[places[order]]
        low, high = (limit.reduceat(columns, starts, axis=0) for limit in (np.minimum, np.maximum))
        lengths = np.linalg.norm((high - low)[:, :2], axis=1)
        has_enough = counts >= queries["min_points"]
        self.is_too_long = has_enough & (lengths > queries["longest"])
        self.is_candidate = has_enough & (is_first | (counts < np.bincount(parents)[parents[first]]))
        self.distances = np.bincount(groups, points.distances[places]) / counts
        depths = np.bincount(groups, points.depths[places]) / counts
        share = covered(points.cells[places], groups, len(counts)) / points.everything[self.owners]
        self.scores = _overlap(low[:, 2:], high[:, 2:], queries["box"]) * np.sqrt(share)
        self.scores *= _likeness(lengths, depths, queries)


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


def _chosen(levels: list[_Level], points: int, boxes: int) -> Bool:
    """Mark the points of the group that is best for each box."""
    best = np.zeros(boxes)
    for level in levels:
        np.maximum.at(best, level.owners, np.where(level.is_candidate, level.scores, 0.0))
    nearest = np.full(boxes, np.inf)
    close = [level.is_candidate & (level.scores >= CLOSE * best[level.owners]) for level in levels]
    for level, is_close in zip(levels, close, strict=True):
        np.minimum.at(nearest, level.owners, np.where(is_close, level.distances, np.inf))
    chosen = np.zeros(points, bool)
    is_open = np.ones(boxes, bool)
    for level, is_close in zip(levels, close, strict=True):
        is_best = is_close & (level.distances == nearest[level.owners]) & is_open[level.owners]
        _, first = np.unique(level.owners[is_best], return_index=True)
        winners = np.flatnonzero(is_best)[first]
        is_open[level.owners[winners]] = False
        chosen[level.places[np.isin(level.groups, winners)]] = True
    return chosen
