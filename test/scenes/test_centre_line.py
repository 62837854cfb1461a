from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from avperception.scenes.centre_line import STEP, CentreLine, curved_line, straight_line
from avperception.scenes.ranging.road_map import RoadMap


def winding(seed: int) -> CentreLine:
    return curved_line(-80.0, 600.0, np.random.default_rng(seed))


@given(seed=st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_a_winding_road_bends_gently_and_never_turns_back(seed: int) -> None:
    line = winding(seed)
    curvature = np.abs(np.diff(line.heading)) / STEP
    assert curvature.max() <= 1 / 69.9
    assert curvature.max() >= 1 / 181, "it does not bend"
    assert np.abs(np.diff(curvature)).max() < 1e-3, "a jump in curvature: no clothoid leads into the arc"
    assert np.abs(line.heading).max() < 0.95


@given(seed=st.integers(0, 2**32), s=st.floats(-70, 590), d=st.floats(-15, 15))
@settings(max_examples=50, deadline=None)
def test_across_is_at_right_angles_to_along(seed: int, s: float, d: float) -> None:
    line = winding(seed)
    x, y, heading = line.pose([s, s], [0.0, d])
    offset = np.array([x[1] - x[0], y[1] - y[0]])
    np.testing.assert_allclose(np.linalg.norm(offset), abs(d), atol=1e-9)
    np.testing.assert_allclose(offset @ [np.cos(heading[0]), np.sin(heading[0])], 0.0, atol=1e-9)


def test_steps_along_the_centre_line_have_their_length() -> None:
    line = winding(1)
    lengths = np.linalg.norm(np.diff(line.xy, axis=0), axis=1)
    np.testing.assert_allclose(lengths, STEP, atol=1e-12)


def test_the_origin_is_at_s_0() -> None:
    for line in (winding(2), straight_line(-80.0, 100.0)):
        x, y, heading = line.pose(0.0, 0.0)
        np.testing.assert_allclose([x, y, heading], 0.0, atol=1e-9)


def test_the_map_of_the_road_gives_back_s_and_d() -> None:
    line = winding(3)
    rng = np.random.default_rng(0)
    s, d = rng.uniform(60, 200, (40, 40)), rng.uniform(-20, 20, (40, 40))
    x, y, _ = line.pose(s, d)
    place, across = RoadMap(line).road_coordinates(x, y, np.array([x.mean(), y.mean()]))
    np.testing.assert_allclose(across, d, atol=0.01)
    np.testing.assert_allclose(place, s, atol=0.25)
