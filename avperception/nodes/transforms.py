"""The transform tree of /tf and /tf_static, looked up at a message's stamp."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped

from avperception.errors import TransformError
from avperception.nodes.conversions.headers import NANOSECONDS, time_message
from avperception.types import Float64

HISTORY_NS = 10 * NANOSECONDS
"""How long moving transforms are kept, as tf2 does."""

RESTART_NS = 2 * NANOSECONDS
"""Transforms of a frame that are this much older than the last one are of another time, not late ones."""

RECENT = 5_000
"""Moving transforms that are kept to be put into tf2's tree again."""


_AUTHORITY = "avperception"


class TransformTimeError(TransformError):
    """The frames are connected, but where they were at the wanted time is not known, or not yet."""


class TransformTree(ABC):
    """Keeps transforms and answers where one frame is in another at a time.

    Transforms between moving frames are interpolated. A frame whose transforms start again more than two
    seconds earlier, for a recording loops, is known from there on only. Leading slashes of frames, as ROS 1
    had them, are left out.
    """

    @abstractmethod
    def add(self, transform: TransformStamped, static: bool) -> None:
        """Insert one transform; raises TransformError for one that is none."""

    @abstractmethod
    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Float64:
        """Give T_target_source (4, 4); raises TransformError, TransformTimeError if just the time fails."""

    def lookup_between(
        self, target_frame: str, target_ns: int, source_frame: str, source_ns: int, fixed_frame: str
    ) -> Float64:
        """Give T_target_source (4, 4) from the source frame at one time to the target frame at another.

        The fixed frame is the one that does not move between the two; raises like `lookup`.
        """
        T_target_fixed = self.lookup(target_frame, fixed_frame, target_ns)
        return T_target_fixed @ self.lookup(fixed_frame, source_frame, source_ns)

    @abstractmethod
    def restart(self, now_ns: int) -> None:
        """Forget moving transforms of a time that is to come again, for the clock has jumped back to now.

        Those of the new time stay: they may have come before the clock told.
        """


def make_transform_tree() -> TransformTree:
    """Give tf2's own tree where ROS is installed, one on pytransform3d where it is not."""
    try:
        import tf2_py
    except ImportError:
        return Pytransform3dTree()
    return Tf2Tree(tf2_py)


class Tf2Tree(TransformTree):
    """The tree of tf2, as every other node of the system has it."""

    def __init__(self, tf2_py: Any) -> None:
        self._tf2 = tf2_py
        self._buffer = self._tf2.BufferCore()
        self._lock = threading.Lock()
        self._frames: set[str] = set()
        self._recent: deque[TransformStamped] = deque(maxlen=RECENT)
        self._last_ns: dict[str, int] = {}

    def add(self, transform: TransformStamped, static: bool) -> None:
        """Insert one transform; raises TransformError for one that is none."""
        parent, child = _parent_and_child(transform)
        matrix(transform)
        with self._lock:
            self._frames.update((parent, child))
            if static:
                self._settle(child)
                self._buffer.set_transform_static(transform, _AUTHORITY)
                return
            stamp_ns = _stamp_ns(transform)
            if self._last_ns.get(child, stamp_ns) - stamp_ns > RESTART_NS:
                # tf2 would refuse what is older than all it keeps, and go on with what is not.
                self._keep(lambda recent: _parent_and_child(recent)[1] != child)
            self._last_ns[child] = stamp_ns
            self._recent.append(transform)
            self._buffer.set_transform(transform, _AUTHORITY)

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Float64:
        """Give T_target_source (4, 4) at a time; raises TransformError with tf2's own words."""
        target_frame, source_frame = target_frame.lstrip("/"), source_frame.lstrip("/")
        with self._lock:
            try:
                stamp = time_message(stamp_ns)
                return matrix(self._buffer.lookup_transform_core(target_frame, source_frame, stamp))
            except self._tf2.TransformException as error:
                raise self._failure(target_frame, source_frame, error) from error

    def restart(self, now_ns: int) -> None:
        """Forget moving transforms of a time that is to come again."""
        with self._lock:
            self._keep(lambda recent: _stamp_ns(recent) <= now_ns + RESTART_NS)

    def _settle(self, child: str) -> None:
        """Let a frame that moved so far not be put in again as a moving one."""
        if self._last_ns.pop(child, None) is not None:
            kept = (recent for recent in self._recent if _parent_and_child(recent)[1] != child)
            self._recent = deque(kept, maxlen=RECENT)

    def _keep(self, is_kept: Callable[[TransformStamped], bool]) -> None:
        """Put the moving transforms that are kept into an emptied tree, in which static ones stay."""
        self._recent = deque(filter(is_kept, self._recent), maxlen=RECENT)
        self._buffer.clear()
        for transform in self._recent:
            self._buffer.set_transform(transform, _AUTHORITY)

    def _failure(self, target_frame: str, source_frame: str, error: Exception) -> TransformError:
        """Tell frames without a connection from a time that fails: tf2 blames the time for both."""
        what = f"no transform from {source_frame!r} to {target_frame!r}"
        if isinstance(error, self._tf2.ExtrapolationException):
            try:
                self._buffer.get_latest_common_time(target_frame, source_frame)
                return TransformTimeError(f"{what}: {error}")
            except self._tf2.TransformException as unconnected:
                error = unconnected
        reason = str(error).partition("\n")[0].strip(" .")  # a circle comes with a list of all frames
        return TransformError(f"{what}: {reason}; {_known(self._frames)}")


class Pytransform3dTree(TransformTree):
    """The answers of tf2 for a machine without it: the tree is walked here, pytransform3d does the sums.

    A frame has one parent, the one last told, and between two times positions are interpolated along the
    line and rotations along the shortest arc, all as with tf2; which still knows, unlike this one, where a
    moving frame was in the parent that it had before.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._parents: dict[str, str] = {}
        self._static: dict[str, Float64] = {}
        self._moving: dict[str, list[_Pose]] = {}
        self._last_ns: dict[str, int] = {}

    def add(self, transform: TransformStamped, static: bool) -> None:
        """Insert one transform; raises TransformError for one that is none."""
        parent, child = _parent_and_child(transform)
        T_parent_child = matrix(transform)
        with self._lock:
            if static or self._parents.get(child) != parent:
                self._moving.pop(child, None)
            self._parents[child] = parent
            if static:
                self._static[child] = T_parent_child
                return
            self._static.pop(child, None)
            pose = _Pose(_stamp_ns(transform), *_position_and_quaternion(transform))
            history = self._moving.setdefault(child, [])
            if self._last_ns.get(child, pose.stamp_ns) - pose.stamp_ns > RESTART_NS:
                history.clear()
            self._last_ns[child] = pose.stamp_ns
            insort(history, pose, key=_pose_ns)
            while history[-1].stamp_ns - history[0].stamp_ns > HISTORY_NS:
                history.pop(0)

    def lookup(self, target_frame: str, source_frame: str, stamp_ns: int) -> Float64:
        """Give T_target_source (4, 4) at a time; raises TransformError."""
        target_frame, source_frame = target_frame.lstrip("/"), source_frame.lstrip("/")
        if target_frame == source_frame:
            return np.eye(4)
        with self._lock:
            upward, downward = self._ancestors(source_frame), self._ancestors(target_frame)
            common = next((frame for frame in upward if frame in downward), None)
            if common is None:
                raise TransformError(self._unconnected(target_frame, source_frame))
            try:
                T_common_source = self._climb(upward[: upward.index(common)], stamp_ns)
                T_common_target = self._climb(downward[: downward.index(common)], stamp_ns)
            except TransformTimeError as error:
                text = f"no transform from {source_frame!r} to {target_frame!r}: {error}"
                raise TransformTimeError(text) from error
        return np.asarray(np.linalg.inv(T_common_target) @ T_common_source)

    def restart(self, now_ns: int) -> None:
        """Forget moving transforms of a time that is to come again."""
        with self._lock:
            for child, history in list(self._moving.items()):
                history[:] = [pose for pose in history if pose.stamp_ns <= now_ns + RESTART_NS]
                if not history:
                    del self._parents[child], self._moving[child]

    def _ancestors(self, frame: str) -> list[str]:
        """The frame itself and what it hangs on, up to the root; a circle is left where it closes."""
        found = [frame]
        while (parent := self._parents.get(found[-1])) is not None and parent not in found:
            found.append(parent)
        return found

    def _climb(self, frames: list[str], stamp_ns: int) -> Float64:
        """Give T_top_first of a chain of frames, each the child of the next; top is the last one's parent."""
        T = np.eye(4)
        for frame in frames:
            static = self._static.get(frame)
            T = (self._moving_at(frame, stamp_ns) if static is None else static) @ T
        return T

    def _moving_at(self, child: str, stamp_ns: int) -> Float64:
        history = self._moving[child]
        index = bisect_left(history, stamp_ns, key=_pose_ns)
        if index < len(history) and history[index].stamp_ns == stamp_ns:
            return history[index].matrix()
        if not 0 < index < len(history):
            raise TransformTimeError(
                f"at {stamp_ns / NANOSECONDS:.6f} s {child!r} in {self._parents[child]!r} is not known, "
                f"only from {(history[0].stamp_ns - stamp_ns) / NANOSECONDS:+.3f} s "
                f"to {(history[-1].stamp_ns - stamp_ns) / NANOSECONDS:+.3f} s of it"
            )
        return _between(history[index - 1], history[index], stamp_ns).matrix()

    def _unconnected(self, target_frame: str, source_frame: str) -> str:
        frames = {*self._parents, *self._parents.values()}
        return f"no transform from {source_frame!r} to {target_frame!r}; {_known(frames)}"


def _known(frames: set[str]) -> str:
    return f"frames known: {', '.join(sorted(frames)) or 'none'}"


@dataclass(frozen=True)
class _Pose:
    """Where a frame is in its parent: position x y z [m] and unit quaternion w x y z."""

    stamp_ns: int
    position: Float64
    quaternion: Float64

    def matrix(self) -> Float64:
        """T_parent_child (4, 4)."""
        from pytransform3d.transformations import transform_from_pq

        return np.asarray(transform_from_pq(np.concatenate([self.position, self.quaternion])), np.float64)


def _between(before: _Pose, after: _Pose, stamp_ns: int) -> _Pose:
    from pytransform3d.rotations import quaternion_slerp

    share = (stamp_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
    position = before.position + share * (after.position - before.position)
    quaternion = quaternion_slerp(before.quaternion, after.quaternion, share, shortest_path=True)
    return _Pose(stamp_ns, position, np.asarray(quaternion))


def _pose_ns(pose: _Pose) -> int:
    return pose.stamp_ns


def _stamp_ns(transform: TransformStamped) -> int:
    stamp = transform.header.stamp
    return int(stamp.sec * NANOSECONDS + stamp.nanosec)


def _parent_and_child(transform: TransformStamped) -> tuple[str, str]:
    """Give the two frames of a transform; raises TransformError for less than two."""
    parent, child = transform.header.frame_id.lstrip("/"), transform.child_frame_id.lstrip("/")
    if not child or not parent or child == parent:
        raise TransformError(f"a transform from {child!r} to {parent!r} is none: check its publisher")
    return parent, child


def _position_and_quaternion(transform: TransformStamped) -> tuple[Float64, Float64]:
    """Give x y z and w x y z, the order of pytransform3d."""
    t, q = transform.transform.translation, transform.transform.rotation
    return np.array([t.x, t.y, t.z]), np.array([q.w, q.x, q.y, q.z])


def matrix(transform: TransformStamped) -> Float64:
    """Give T_parent_child (4, 4) of a message; raises TransformError for a rotation of zero length."""
    position, quaternion = _position_and_quaternion(transform)
    pose = np.concatenate([position, quaternion])
    if not np.isfinite(pose).all() or np.linalg.norm(quaternion) < 1e-6:
        raise TransformError(
            f"the transform of {transform.child_frame_id!r} in {transform.header.frame_id!r} holds NaN or no "
            "rotation: check its publisher"
        )
    return _Pose(0, position, quaternion).matrix()
