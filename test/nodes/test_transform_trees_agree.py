"""However they are used, both trees give the same matrix, or the same kind of error."""

from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from stamped_transforms import SECOND, no_tf2, tf2_tree, transform

from avperception.errors import TransformError
from avperception.nodes.transforms import Pytransform3dTree, TransformTree

PARENTS = {
    "odom": "map",
    "base_link": "odom",
    "camera": "base_link",
    "lidar": "base_link",
    "antenna": "lidar",
}

seconds = st.integers(0, 250).map(lambda tenths: 90 * SECOND + tenths * SECOND // 10)
turns = st.floats(-3, 3)
places = st.tuples(*[st.floats(-50, 50)] * 3)
known_frames = st.sampled_from(["map", *PARENTS])
frames = st.one_of(known_frames, known_frames.map(lambda frame: f"/{frame}"), st.just("nobody"))
inserted = st.tuples(st.just("add"), st.sampled_from(sorted(PARENTS)), seconds, places, turns, st.booleans())
looked_up = st.tuples(st.just("lookup"), frames, frames, seconds)
looked_up_between = st.tuples(st.just("between"), frames, seconds, frames, seconds, frames)
clock_back = st.tuples(st.just("restart"), seconds)


def answer(tree: TransformTree, what: str, *arguments: Any) -> np.ndarray | type | None:
    try:
        if what == "add":
            child, stamp_ns, xyz, yaw, static = arguments
            tree.add(transform(PARENTS[child], child, xyz, yaw, stamp_ns), static)
        elif what == "restart":
            tree.restart(*arguments)
        else:
            return tree.lookup(*arguments) if what == "lookup" else tree.lookup_between(*arguments)
    except TransformError as error:
        return type(error)
    return None


@no_tf2
@given(st.lists(st.one_of(inserted, inserted, looked_up, looked_up_between, clock_back), max_size=40))
@settings(max_examples=200, deadline=None)
def test_both_trees_agree(steps: list[tuple[Any, ...]]):
    trees = tf2_tree(), Pytransform3dTree()
    # Of two transforms for one time it is not said which one counts.
    times = [(child, stamp_ns) for what, child, stamp_ns, *_ in (s for s in steps if s[0] == "add")]
    assume(len(times) == len(set(times)))
    for step in steps:
        of_tf2, of_pytransform3d = (answer(tree, *step) for tree in trees)
        if isinstance(of_tf2, np.ndarray) and isinstance(of_pytransform3d, np.ndarray):
            np.testing.assert_allclose(of_tf2, of_pytransform3d, atol=1e-6)
        else:
            assert of_tf2 is of_pytransform3d, step
