"""Which of the points behind a 2D box are the object's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from avperception.types import Float32, Float64

Rows = NDArray[np.int64]

GRID = 12
"""Cells along each side of a 2D box in which the share that a group covers is counted."""

_CENTRALITY: Float64 = np.outer(*[1.0 - np.abs((np.arange(GRID) + 0.5) / GRID * 2 - 1)] * 2).ravel()

SPLITS = 3
"""How often a group that is too long for its class is parted again, each time with 0.6 of the reach."""


def clusters(points: Float32, reach: float) -> list[Rows]:
    """Split points (N, 3) into groups linked by steps of about `reach` [m] in the ground plane.

    Points are first gathered in cells of a quarter of the reach, whose centres are then linked: a wall
    of thousands of points would have millions of pairs.
    """
    if not len(points):
        return []
    cell = reach / 4
    column = np.floor(points[:, :2] / cell).astype(np.int64)
    column -= column.min(axis=0)
    span = int(column[:, 1].max()) + 1
    keys, cell_of_point = np.unique(column[:, 0] * span + column[:, 1], return_inverse=True)
    cells = np.stack([keys // span, keys % span], axis=1) * cell
    pairs = cKDTree(cells).query_pairs(reach, output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(len(cells),) * 2)
    count, label_of_cell = connected_components(links, directed=False)
    labels = label_of_cell[cell_of_point.ravel()]
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.searchsorted(labels[order], np.arange(1, count)))


def candidates(points: Float32, reach: float, longest: float, min_points: int) -> list[Rows]:
    """Groups of points (N, 3) that may be one object: clusters, and the parts of those that are too long.

    A person beside a wall is linked with it; a group beyond `longest` [m] is therefore also given in the
    parts that a shorter reach leaves. Groups of fewer than `min_points` are left out.
    """
    found: list[Rows] = []
    waiting: list[tuple[Rows, float, int]] = [(np.arange(len(points)), reach, 0)]
    while waiting:
        rows, step, depth = waiting.pop()
        groups = [rows[group] for group in clusters(points[rows], step) if len(group) >= min_points]
        for group in groups:
            if depth == 0 or len(group) < len(rows):
                found.append(group)
            if depth < SPLITS and length_of(points[group]) > longest:
                waiting.append((group, 0.6 * step, depth + 1))
    return found


def length_of(points: Float32) -> float:
    """Diagonal of the extent of points (N, 3) in the ground plane [m]."""
    return float(np.linalg.norm(np.ptp(points[:, :2], axis=0)))


def fill_scores(groups: list[Rows], pixels: Float32, box: NDArray[Any]) -> Float64:
    """Score how well each group alone fills a 2D box x1 y1 x2 y2 with its points at `pixels` (N, 2), 0 to 1.

    Background stands behind the object and shows at the box's rim and in its corners; what occludes
    the object covers a part. The score is the overlap (IoU) of the group's extent in the image with the
    box, times the root of the group's share in the cells of the box that hold a point, where a cell
    weighs the more the more central it is.
    """
    size = np.maximum(box[2:] - box[:2], 1e-3)
    column = np.clip((pixels - box[:2]) / size * GRID, 0, GRID - 1).astype(np.int64)
    cell = column[:, 0] * GRID + column[:, 1]
    covered = np.array([_CENTRALITY[np.unique(cell[rows])].sum() for rows in groups], dtype=np.float64)
    everything = _CENTRALITY[np.unique(cell)].sum()
    overlaps = np.array([_overlap(pixels[rows], box) for rows in groups], dtype=np.float64)
    return np.asarray(overlaps * np.sqrt(covered / everything))


def object_cluster(groups: list[Rows], scores: Float64, distances: Float32) -> Rows:
    """Choose the group of the best score; of those that come close, the nearest by `distances` (N,) [m]."""
    if not groups:
        return np.zeros(0, dtype=np.int64)
    near = np.array([np.median(distances[rows]) for rows in groups])
    close = np.flatnonzero(scores >= 0.8 * scores.max())
    return groups[close[np.argmin(near[close])]]


def _overlap(pixels: Float32, box: NDArray[Any]) -> float:
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    inner = np.minimum(high, box[2:]) - np.maximum(low, box[:2])
    if (inner <= 0).any():
        return 1e-3
    common = float(np.prod(inner))
    return common / (float(np.prod(high - low)) + float(np.prod(box[2:] - box[:2])) - common)
