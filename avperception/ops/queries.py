"""What is asked of the points behind 2D boxes, as the operations on host and GPU read it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

QUERY = np.dtype(
    [
        ("size", np.float64, 3),
        ("largest", np.float64, 2),
        ("origin", np.float64, 2),
        ("left", np.float64),
        ("right", np.float64),
        ("box", np.float32, 4),
        ("image_size", np.float32, 2),
        ("focal", np.float32),
        ("reach", np.float32),
        ("reach_per_metre", np.float32),
        ("longest", np.float32),
        ("min_points", np.int32),
        ("is_compact", np.int32),
    ]
)
"""One 2D box and what may be behind it.

`box` x1 y1 x2 y2 in the image of `image_size` [pixels] and vertical focal length `focal` [pixels]. Points
of one object are at most `reach` [m] apart, and `reach_per_metre` more for each metre of distance; at least
`min_points` make one. Objects of its class have a typical `size`, length width height [m], zeros where it
is not known, measure at most `largest`, length and width [m], and `longest` [m], the diagonal of that,
infinite where it is not known; `is_compact` ones are too small to show their heading. Seen from `origin`,
x y in the target frame, the object lies between two bearings [rad], `left` the larger; NaN where the edge
of the image cuts it off.
"""

Queries = NDArray[Any]
"""Rows (B,) of the type QUERY, the struct of kernels/query.cuh."""

EDGE = 3.0
"""A 2D box this near to the edge of the image is cut off by it [pixels]."""


def are_cut(queries: Queries) -> NDArray[np.bool_]:
    """Tell which boxes an edge of their image cuts off (B,)."""
    box, size = queries["box"], queries["image_size"]
    return np.asarray((box[:, :2] < EDGE).any(axis=1) | (box[:, 2:] > size - EDGE).any(axis=1))
