"""The painter's order: which of two upright solids may hide the other, seen from one place."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from avperception.scenes.solid import Solid
from avperception.types import Bool, Float64

_SLACK = 0.02  # m that neighbours may overlap and still count as apart


def painting_order(solids: Sequence[Solid], eye: Float64) -> list[int]:
    """Numbers of the solids from back to front for an `eye` (3,) in the world.

    Two boxes that a vertical or level plane keeps apart have a certain order: the one on the eye's side
    of the plane cannot be hidden by the other. Where no such plane exists the farther one comes first.
    """
    if len(solids) < 2:
        return list(range(len(solids)))
    boxes = _Boxes(solids)
    must_precede = boxes.may_be_hidden_by(eye) & boxes.overlap_in_view(eye)
    distance = boxes.distance(eye)
    return _topological(must_precede, distance)


def _topological(must_precede: Bool, distance: Float64) -> list[int]:
    """Order in which i comes before j where `must_precede[i, j]`, else by falling distance."""
    nearer = distance[:, None] < distance[None, :]
    edges = must_precede & ~(must_precede & must_precede.T & nearer)
    waiting_for = edges.sum(axis=0).tolist()
    followers: list[list[int]] = [[] for _ in waiting_for]
    for before, after in zip(*(ends.tolist() for ends in np.nonzero(edges)), strict=True):
        followers[before].append(after)
    by_distance = np.argsort(-distance, kind="stable").tolist()
    rank = np.argsort(by_distance).tolist()
    ready = [rank[i] for i, count in enumerate(waiting_for) if count == 0]
    heapify(ready)
    order: list[int] = []
    done = [False] * len(rank)
    while len(order) < len(rank):
        # nobody is ready in a ring of solids that hide each other: break it at the farthest
        best = by_distance[heappop(ready)] if ready else next(i for i in by_distance if not done[i])
        if done[best]:
            continue
        order.append(best)
        done[best] = True
        for after in followers[best]:
            waiting_for[after] -= 1
            if waiting_for[after] == 0:
                heappush(ready, rank[after])
    return order


class _Boxes:
    """Bounding boxes of solids, upright and turned with them."""

    def __init__(self, solids: Sequence[Solid]) -> None:
        lower = np.array([solid.shape.lower for solid in solids], np.float64)
        upper = np.array([solid.shape.upper for solid in solids], np.float64)
        self.xy = np.array([(solid.x, solid.y) for solid in solids])
        z = np.array([solid.z for solid in solids])
        yaw = np.array([solid.yaw for solid in solids])
        self.low_z, self.high_z = lower[:, 2] + z, upper[:, 2] + z
        self.low, self.high = lower[:, :2], upper[:, :2]
        self.axis_x = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
        self.axis_y = np.stack([-np.sin(yaw), np.cos(yaw)], axis=1)
        x = np.stack([self.low[:, 0], self.high[:, 0], self.high[:, 0], self.low[:, 0]], axis=1)
        y = np.stack([self.low[:, 1], self.low[:, 1], self.high[:, 1], self.high[:, 1]], axis=1)
        self.corners = (
            self.xy[:, None] + x[..., None] * self.axis_x[:, None] + y[..., None] * self.axis_y[:, None]
        )

    def distance(self, eye: Float64) -> Float64:
        """Level distance (N,) of each box's middle from the eye, metres."""
        middle = self.corners.mean(axis=1)
        return np.asarray(np.linalg.norm(middle - eye[:2], axis=1))

    def may_be_hidden_by(self, eye: Float64) -> Bool:
        """(N, N): box i, behind, may be hidden by box j, in front: no plane proves the contrary."""
        cannot = np.zeros((len(self.xy), len(self.xy)), bool)
        view = eye[:2] - self.xy
        corners = self.corners.transpose(1, 0, 2)  # (4, N, 2): reducing over the first axis is quick
        for axis, low, high in (
            (self.axis_x, self.low[:, 0], self.high[:, 0]),
            (self.axis_y, self.low[:, 1], self.high[:, 1]),
        ):
            # box j's corners along box i's axis, about box i: (4, i, j)
            along = axis @ corners.transpose(0, 2, 1) - (self.xy * axis).sum(axis=1)[:, None]
            seen = (view * axis).sum(axis=1)
            self._settle(cannot, along.min(axis=0) > high[:, None] - _SLACK, seen > high)
            self._settle(cannot, along.max(axis=0) < low[:, None] + _SLACK, seen < low)
        above = self.low_z[None, :] > self.high_z[:, None] - _SLACK
        self._settle(cannot, above, eye[2] > self.high_z)
        np.fill_diagonal(cannot, True)
        return ~cannot

    @staticmethod
    def _settle(cannot: Bool, apart: Bool, eye_beyond: NDArray[np.bool_]) -> None:
        """Box j lies wholly beyond a side of box i (`apart`): the eye's side of it tells who is in front.

        `cannot[i, j]` says that i cannot be hidden by j.
        """
        cannot |= apart & ~eye_beyond[:, None]  # the eye is on i's side: j cannot hide i
        cannot |= (apart & eye_beyond[:, None]).T  # the eye is on j's side: i cannot hide j

    def overlap_in_view(self, eye: Float64) -> Bool:
        """(N, N): the two boxes share a direction seen from the eye."""
        rays = self.corners - eye[:2]
        middle = np.arctan2(*rays.mean(axis=1).T[::-1])
        angles = np.arctan2(rays[..., 1], rays[..., 0]) - middle[:, None]
        angles = np.mod(angles + np.pi, 2 * np.pi) - np.pi
        half = np.abs(angles).max(axis=1)
        half[half > np.pi / 2] = np.pi  # the eye is beside or inside the box
        apart = np.abs(np.mod(middle[:, None] - middle[None, :] + np.pi, 2 * np.pi) - np.pi)
        return np.asarray(apart < half[:, None] + half[None, :])
