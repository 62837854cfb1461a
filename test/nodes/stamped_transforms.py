"""Transforms for tests, and the tree of tf2 where there is one."""

import importlib
from importlib.util import find_spec

import pytest
from geometry_msgs.msg import TransformStamped
from scipy.spatial.transform import Rotation

from avperception.nodes.transforms import Tf2Tree, TransformTree

SECOND = 1_000_000_000

no_tf2 = pytest.mark.skipif(find_spec("tf2_py") is None, reason="tf2_py comes with a ROS installation only")


def tf2_tree() -> TransformTree:
    return Tf2Tree(importlib.import_module("tf2_py"))


def transform(
    parent: str, child: str, xyz: tuple[float, float, float] = (0, 0, 0), yaw: float = 0.0, stamp_ns: int = 0
) -> TransformStamped:
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id = parent
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, SECOND)
    t, q = message.transform.translation, message.transform.rotation
    t.x, t.y, t.z = map(float, xyz)
    q.x, q.y, q.z, q.w = Rotation.from_euler("z", yaw).as_quat()
    return message
