from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avperception.scenes.shapes import street
from avperception.scenes.shapes.building import make_building
from avperception.scenes.shapes.car import make_car
from avperception.scenes.shapes.cyclist import Cyclist
from avperception.scenes.shapes.pedestrian import Pedestrian
from avperception.scenes.shapes.shape import Shape
from avperception.scenes.shapes.truck import make_truck

Maker = Callable[[np.random.Generator], Shape]

MAKERS: dict[str, Maker] = {
    "car": make_car,
    "truck": make_truck,
    "cyclist": lambda rng: Cyclist(rng).shape(int(rng.integers(6))),
    "pedestrian": lambda rng: Pedestrian(rng, walking=True).shape(int(rng.integers(8))),
    "tree": street.make_tree,
    "bush": street.make_bush,
    "building": lambda rng: make_building(12.0, 9.0, rng, lit_windows=False),
    **{kind: (lambda rng, kind=kind: street.make_furniture(kind, rng)) for kind in street.KINDS},
}


@pytest.mark.parametrize("name", MAKERS)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_every_part_is_convex_with_its_normals_outwards(name: str, seed: int) -> None:
    shape = MAKERS[name](np.random.default_rng(seed))
    faces = shape.faces
    ends = [*shape.plane_starts[1:], len(faces)]
    for first, end in zip(shape.plane_starts, ends, strict=True):
        corners = np.concatenate(
            [shape.points[shape.starts[i] : shape.starts[i + 1]] for i in faces[first:end]]
        )
        height = corners @ shape.plane_normals[first:end].T - shape.plane_offsets[first:end]
        assert height.max() < 1e-4
        assert height.min() < -0.005, "a part without volume"


@pytest.mark.parametrize("name", MAKERS)
def test_every_face_is_planar_and_stands_on_the_ground(name: str) -> None:
    shape = MAKERS[name](np.random.default_rng(1))
    for plane, i in enumerate(shape.faces):
        corners = shape.points[shape.starts[i] : shape.starts[i + 1]]
        np.testing.assert_allclose(
            corners @ shape.plane_normals[plane], shape.plane_offsets[plane], atol=2e-4
        )
    assert shape.lower[2] >= -1e-6


@pytest.mark.parametrize("make", [make_car, make_truck])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_vehicles_are_centred_over_their_origin(make: Maker, seed: int) -> None:
    shape = make(np.random.default_rng(seed))
    np.testing.assert_allclose(shape.lower[:2], -shape.upper[:2], atol=1e-5)
    np.testing.assert_allclose(shape.lower[2], 0.0, atol=1e-5)


@pytest.mark.parametrize("make", [lambda rng: Pedestrian(rng, walking=True), Cyclist])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=5, deadline=None)
def test_all_postures_lie_in_the_box_and_reach_its_sides(
    make: Callable[[np.random.Generator], Pedestrian | Cyclist], seed: int
) -> None:
    person = make(np.random.default_rng(seed))
    shapes = [person.shape(posture) for posture in range(person.postures)]
    reach = np.max([np.maximum(-shape.lower, shape.upper) for shape in shapes], axis=0)
    np.testing.assert_allclose(reach * (2, 2, 1), person.size, atol=1e-4)


def test_postures_differ() -> None:
    walker = Pedestrian(np.random.default_rng(3), walking=True)
    feet = {round(float(walker.shape(posture).upper[0]), 3) for posture in range(walker.postures)}
    assert len(feet) > 2


def test_the_nearer_part_is_painted_later() -> None:
    car = make_car(np.random.default_rng(5))
    order = car.painting_order(np.array([0.0, 0.0, 10.0], np.float32)).tolist()
    body, cabin = (max(order.index(i) for i in np.flatnonzero(car.part == part)) for part in (0, 1))
    assert body < cabin, "from above the cabin hides the body"
    order = car.painting_order(np.array([0.0, 9.0, 0.1], np.float32)).tolist()
    body, cabin = (max(order.index(i) for i in np.flatnonzero(car.part == part)) for part in (0, 1))
    assert cabin < body, "from the kerb the body hides the cabin"
