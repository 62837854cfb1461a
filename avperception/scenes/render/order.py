"""The painter's order: which of two upright solids may hide the other, seen from one place."""

from __future__ import annotations

from collections.abc import Sequence

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
    both = must_precede & must_precede.T
    nearer = distance[:, None] < distance[None, :]
    edges = must_precede & ~(both & nearer)
    waiting_for = edges.sum(axis=0).astype(np.int64)
    key = np.where(waiting_for == 0, distance, -1.0)
    done = np.zeros(len(distance), bool)
    order = []
    for _ in range(len(distance)):
        best = int(key.argmax())
        if key[best] < 0:  # a ring of solids that hide each other: break it at the farthest
            best = int(np.where(done, -1.0, distance).argmax())
        order.append(best)
        done[best] = True
        freed = edges[best]
        edges[:, best] = False
        waiting_for[freed] -= 1
        key[freed & (waiting_for == 0) & ~done] = distance[freed & (waiting_for == 0) & ~done]
        key[best] = -1.0
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
        shifted = self.corners[None] - self.xy[:, None, None]  # box j's corners about box i
        view = eye[:2] - self.xy
        for axis, low, high in (
            (self.axis_x, self.low[:, 0], self.high[:, 0]),
            (self.axis_y, self.low[:, 1], self.high[:, 1]),
        ):
            along = np.einsum("ijkc,ic->ijk", shifted, axis)
            seen = (view * axis).sum(axis=1)
            self._settle(cannot, along.min(axis=2) > high[:, None] - _SLACK, seen > high)
            self._settle(cannot, along.max(axis=2) < low[:, None] + _SLACK, seen < low)
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
