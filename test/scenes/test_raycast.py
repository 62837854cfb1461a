from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avperception.scenes.ranging.raycast import cast
from avperception.scenes.shapes.builder import ShapeBuilder, box
from avperception.scenes.shapes.car import make_car
from avperception.scenes.shapes.pedestrian import Pedestrian
from avperception.scenes.shapes.shape import Shape


def depth_inside(shape: Shape, points: np.ndarray) -> np.ndarray:
    """How deep points (N, 3) lie within the part they are deepest in, negative outside."""
    height = points @ shape.plane_normals.T.astype(np.float64) - shape.plane_offsets
    ends = [*shape.plane_starts[1:], len(shape.plane_offsets)]
    parts = [height[:, a:b].max(axis=1) for a, b in zip(shape.plane_starts, ends, strict=True)]
    return -np.min(parts, axis=0)


@pytest.mark.parametrize("make", [make_car, lambda rng: Pedestrian(rng, walking=True).shape(2)])
@given(seed=st.integers(0, 2**16))
@settings(max_examples=10, deadline=None)
def test_a_hit_is_on_the_surface_with_nothing_before_it(make, seed: int) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    shape = make(rng)
    origins = rng.uniform(-12, 12, (400, 3)) + (0, 0, 4)
    origins = origins[depth_inside(shape, origins) < -0.5]
    aims = rng.uniform(shape.lower, shape.upper, (len(origins), 3))
    rays = (aims - origins) / np.linalg.norm(aims - origins, axis=1, keepdims=True)
    hits = cast(shape, origins.T.astype(np.float32), rays.T.astype(np.float32))
    assert len(hits.rows) > len(origins) / 10
    reached = origins[hits.rows] + hits.range[:, None] * rays[hits.rows]
    np.testing.assert_allclose(depth_inside(shape, reached), 0.0, atol=2e-3)
    for share in np.linspace(0.05, 0.95, 10):
        before = origins[hits.rows] + share * (hits.range[:, None] - 0.05) * rays[hits.rows]
        assert depth_inside(shape, before).max() < 1e-3
    assert (hits.brightness > 0).all()


def test_a_box_is_hit_where_it_stands() -> None:
    builder = ShapeBuilder()
    builder.add(box((-1, -1, 0), (1, 1, 2)), (0, 0, 0), reflectivity=0.5)
    shape = builder.build()
    origins = np.array([[5, 0, 1], [5, 0, 1], [5, 0, 3]], np.float32)
    rays = np.array([[-1, 0, 0], [1, 0, 0], [-1, 0, 0]], np.float32)
    hits = cast(shape, origins.T, rays.T)
    assert hits.rows.tolist() == [0], "behind and above the box nothing is hit"
    np.testing.assert_allclose(hits.range, 4.0)
    np.testing.assert_allclose(
        hits.brightness, 0.5, err_msg="straight on, all of the reflectivity comes back"
    )
