"""The transform tree of /tf and /tf_static, looked up at a message's stamp."""

from __future__ import annotations

import threading
from bisect import insort
from typing import Any, Protocol

import numpy as np
from geometry_msgs.msg import TransformStamped

from avperception.errors import TransformError
from avperception.nodes.conversions.headers import NANOSECONDS, time_message
from avperception.types import Float64

HISTORY_NS = 10 * NANOSECONDS
"""How long moving transforms are kept, as tf2 does."""


class TransformTree(Protocol):
    """Keeps transforms and answers where one frame is in another at a time."""

    def add(self, transform: TransformStamped, static: bool) -> None: ...

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Float64:
        """Give T_target_source (4, 4); raises TransformError."""
        ...

    def clear(self) -> None:
        """Forget moving transforms, for time has jumped."""
        ...


def make_transform_tree() -> TransformTree:
    """Give tf2's own tree where ROS is installed, one on pytransform3d where it is not."""
    try:
        import tf2_py
    except ImportError:
        return Pytransform3dTree()
    return Tf2Tree(tf2_py)


class Tf2Tree:
    """The tree of tf2, as every other node of the system has it."""

    def __init__(self, tf2_py: object) -> None:
        self._tf2 = tf2_py
        self._buffer = self._tf2.BufferCore()  # type: ignore[attr-defined]

    def add(self, transform: TransformStamped, static: bool) -> None:
        """Insert one transform."""
        if static:
            self._buffer.set_transform_static(transform, "avperception")
        else:
            self._buffer.set_transform(transform, "avperception")

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Float64:
        """Give T_target_source (4, 4) at a time; raises TransformError with tf2's own words."""
        try:
            found = self._buffer.lookup_transform_core(target_frame, source_frame, time_message(stamp_ns))
        except self._tf2.TransformException as error:  # type: ignore[attr-defined]
            raise TransformError(f"no transform from {source_frame} to {target_frame}: {error}") from error
        return matrix(found)

    def clear(self) -> None:
        """Forget all but the static transforms."""
        self._buffer.clear()


class Pytransform3dTree:
    """The same answers from pytransform3d's TemporalTransformManager, for a machine without tf2.

    Moving transforms are interpolated (screw linear interpolation); a time before the first or after
    the last known one is refused, as tf2 does.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._static: dict[tuple[str, str], Float64] = {}
        self._moving: dict[tuple[str, str], list[tuple[int, tuple[float, ...]]]] = {}
        self._fixed: dict[tuple[str, str], Float64 | None] = {}

    def add(self, transform: TransformStamped, static: bool) -> None:
        """Insert one transform; the newest static one of a pair of frames counts."""
        edge = (transform.child_frame_id.lstrip("/"), transform.header.frame_id.lstrip("/"))
        T_parent_child = matrix(transform)
        with self._lock:
            if static:
                self._static[edge] = T_parent_child
                self._fixed.clear()
                return
            stamp = transform.header.stamp
            stamp_ns = stamp.sec * NANOSECONDS + stamp.nanosec
            history = self._moving.setdefault(edge, [])
            insort(history, (stamp_ns, _position_and_quaternion(transform)))
            while history[-1][0] - history[0][0] > HISTORY_NS:
                history.pop(0)

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Float64:
        """Give T_target_source (4, 4) at a time; raises TransformError."""
        target_frame, source_frame = target_frame.lstrip("/"), source_frame.lstrip("/")
        if target_frame == source_frame:
            return np.eye(4)
        with self._lock:
            fixed = self._lookup_fixed(target_frame, source_frame)
            return self._lookup_moving(target_frame, source_frame, stamp_ns) if fixed is None else fixed

    def clear(self) -> None:
        """Forget all but the static transforms."""
        with self._lock:
            self._moving.clear()

    def _lookup_fixed(self, target_frame: str, source_frame: str) -> Float64 | None:
        """Give the transform if static ones alone lead there: found once, for sensors ask at each message."""
        key = (target_frame, source_frame)
        if key not in self._fixed:
            try:
                self._fixed[key] = self._manager().get_transform(source_frame, target_frame)
            except KeyError:
                self._fixed[key] = None
        return self._fixed[key]

    def _lookup_moving(self, target_frame: str, source_frame: str, stamp_ns: int) -> Float64:
        from pytransform3d.transform_manager import NumpyTimeseriesTransform

        manager = self._manager()
        for (child, parent), history in self._moving.items():
            # Times relative to the lookup keep nanoseconds exact in float64.
            times = np.array([(ns - stamp_ns) / NANOSECONDS for ns, _ in history])
            poses = np.array([pose for _, pose in history])
            manager.add_transform(child, parent, NumpyTimeseriesTransform(times, poses, time_clipping=False))
        manager.current_time = 0.0
        try:
            return np.asarray(manager.get_transform(source_frame, target_frame), dtype=np.float64)
        except KeyError as error:
            frames = {frame for edge in [*self._static, *self._moving] for frame in edge}
            raise TransformError(
                f"no transform from {source_frame!r} to {target_frame!r}; "
                f"frames known: {', '.join(sorted(frames)) or 'none'}"
            ) from error
        except ValueError as error:
            raise TransformError(
                f"the transform from {source_frame!r} to {target_frame!r} is not known at "
                f"{stamp_ns / NANOSECONDS:.6f} s: /tf has {self._spans(stamp_ns)}"
            ) from error

    def _manager(self) -> Any:
        from pytransform3d.transform_manager import StaticTransform, TemporalTransformManager

        manager = TemporalTransformManager()
        for (child, parent), T_parent_child in self._static.items():
            manager.add_transform(child, parent, StaticTransform(T_parent_child))
        return manager

    def _spans(self, stamp_ns: int) -> str:
        return "; ".join(
            f"{child} in {parent} from {(history[0][0] - stamp_ns) / 1e9:+.3f} s "
            f"to {(history[-1][0] - stamp_ns) / 1e9:+.3f} s of it"
            for (child, parent), history in self._moving.items()
        )


def _position_and_quaternion(transform: TransformStamped) -> tuple[float, ...]:
    """Give x y z qw qx qy qz, the order of pytransform3d."""
    t, q = transform.transform.translation, transform.transform.rotation
    return (t.x, t.y, t.z, q.w, q.x, q.y, q.z)


def matrix(transform: TransformStamped) -> Float64:
    """Give T_parent_child (4, 4) of a message; raises TransformError for a rotation of zero length."""
    from pytransform3d.transformations import transform_from_pq

    pose = np.array(_position_and_quaternion(transform))
    if not np.isfinite(pose).all() or np.linalg.norm(pose[3:]) < 1e-6:
        raise TransformError(
            f"the transform of {transform.child_frame_id!r} in {transform.header.frame_id!r} holds NaN or no "
            "rotation: check its publisher"
        )
    return np.asarray(transform_from_pq(pose), dtype=np.float64)
