"""Which of the points behind a 2D box are the object's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from avperception.types import Float32

Rows = NDArray[np.int64]


def clusters(points: Float32, reach: float) -> list[Rows]:
    """Split points (N, 3) into groups linked by steps of about `reach` [m] in the ground plane.

    Points are first gathered in cells of a quarter of the reach, whose centres are then linked: a wall
    of thousands of points would have millions of pairs.
    """
    if not len(points):
        return []
    cell = reach / 4
    cells, cell_of_point = np.unique(np.floor(points[:, :2] / cell), axis=0, return_inverse=True)
    pairs = cKDTree(cells * cell).query_pairs(reach, output_type="ndarray")
    links = coo_matrix((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(len(cells),) * 2)
    count, label_of_cell = connected_components(links, directed=False)
    labels = label_of_cell[cell_of_point.ravel()]
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.searchsorted(labels[order], np.arange(1, count)))


def object_cluster(groups: list[Rows], pixels: Float32, box: NDArray[Any], distances: Float32) -> Rows:
    """Choose the group that fills a 2D box x1 y1 x2 y2 best, its points at `pixels` (N, 2).

    Background stands behind the object and spreads over the whole box or into its corners; what
    occludes it covers a part. The score is the overlap (IoU) of the group's extent in the image with
    the box, weighted by its solid angle share: points count with their squared distance, since a lidar
    hits near things more densely. Of groups that come close, the nearest wins.
    """
    if not groups:
        return np.zeros(0, dtype=np.int64)
    weights = np.array([np.sum(distances[rows] ** 2) for rows in groups])
    overlaps = np.array([_overlap(pixels[rows], box) for rows in groups])
    scores = overlaps * np.sqrt(weights / weights.sum())
    near = np.array([np.median(distances[rows]) for rows in groups])
    candidates = np.flatnonzero(scores >= 0.8 * scores.max())
    return groups[candidates[np.argmin(near[candidates])]]


def _overlap(pixels: Float32, box: NDArray[Any]) -> float:
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    inner = np.minimum(high, box[2:]) - np.maximum(low, box[:2])
    if (inner <= 0).any():
        return 1e-3
    common = float(np.prod(inner))
    return common / (float(np.prod(high - low)) + float(np.prod(box[2:] - box[:2])) - common)
