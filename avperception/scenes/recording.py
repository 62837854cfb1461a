"""Writes a scene as a rosbag2 recording; several processes render, one writes, in the order of time."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import active_children, get_context
from pathlib import Path
from threading import current_thread, main_thread

import cv2

from avperception.bags import BagWriter, typestore
from avperception.bags.messages import TRANSFORMS
from avperception.errors import AvperceptionError
from avperception.scenes import messages
from avperception.scenes.scene import Scene

START_NS = 1_700_000_000_000_000_000
"""Stamp of the first frame of every recording."""

ODOMETRY_RATE = 50.0
"""Poses of the ego vehicle on /tf, a second."""

_FEW_FRAMES = 8  # so few are rendered sooner than other processes have started
_AHEAD = 2  # frames that each process may be ahead of the writer

Message = tuple[str, int, bytes]
"""Topic, log time in ns, and CDR."""


@dataclass(frozen=True)
class RecordingSummary:
    """What was written: `frames` of all sensors and `messages` in all."""

    frames: int
    messages: int


def write_recording(
    scene: Scene,
    path: Path | str,
    *,
    overwrite: bool = False,
    compress: bool = False,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RecordingSummary:
    """Render all frames of a scene and write them to `path` (*.mcap), every message at its stamp.

    The same scene gives the same bytes, however many `processes` render (default: one a core).
    `compress` packs the file with zstd: a third smaller, and slower.
    `progress` is told the frames done and the frames in all. After an error or Ctrl-C there is no file.
    Raises BagError if it cannot be written.
    """
    count = max(1, round(scene.duration * scene.rate))
    workers = max(1, min(processes or _cores(), count))
    tell = progress or (lambda done, total: None)
    with BagWriter(path, overwrite=overwrite, compress=compress) as bag:
        for topic, msgtype, latched in messages.topics(scene.rig):
            bag.add_topic(topic, msgtype, latched=latched)
        _write_start(bag, scene)
        odometry = _odometry(scene, count)
        following = next(odometry, None)
        tell(0, count)
        for number, rendered in enumerate(_rendered(scene, count, workers)):
            stamp_ns = stamp_of(scene, number)
            while following is not None and following[1] <= stamp_ns:
                bag.write_cdr(*following)
                following = next(odometry, None)
            for message in rendered:
                bag.write_cdr(*message)
            tell(number + 1, count)
        while following is not None:
            bag.write_cdr(*following)
            following = next(odometry, None)
    return RecordingSummary(count, bag.message_count)


def stamp_of(scene: Scene, number: int) -> int:
    """Stamp of a frame, ns."""
    return START_NS + round(number * 1e9 / scene.rate)


def _write_start(bag: BagWriter, scene: Scene) -> None:
    bag.write("/tf_static", START_NS, messages.mounts(scene.rig, START_NS))
    for camera in scene.rig.cameras:
        topic = f"/{camera.name}/ground_truth/label_info"
        bag.write(topic, START_NS, messages.label_info(START_NS, camera.model.frame_id))


def _odometry(scene: Scene, count: int) -> Iterator[Message]:
    """The ego vehicle's poses, from half a turn of the lidar before the first frame to one after the last."""
    step = round(1e9 / ODOMETRY_RATE)
    margin = -(-round(0.5e9 / scene.rate) // step) * step
    for stamp_ns in range(START_NS - margin, stamp_of(scene, count - 1) + margin + step, step):
        message = messages.odometry(stamp_ns, scene.T_world_base((stamp_ns - START_NS) / 1e9))
        yield "/tf", stamp_ns, bytes(typestore().serialize_cdr(message, TRANSFORMS))


def _rendered(scene: Scene, count: int, workers: int) -> Iterator[list[Message]]:
    """The messages of every frame, in order."""
    if workers == 1 or count <= _FEW_FRAMES:
        yield from (_render(scene, number) for number in range(count))
        return
    with _pool(scene, workers) as pool:
        waiting: deque[Future[list[Message]]] = deque()
        for number in range(count):
            waiting.append(pool.submit(_render_here, number))
            if len(waiting) > workers * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def _pool(scene: Scene, workers: int) -> Iterator[ProcessPoolExecutor]:
    bare = replace(scene)  # without what was worked out already: that is faster made than sent
    others = set(active_children())
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_process, (bare,))
    try:
        with _one_thread_each(), _no_interrupt():
            for _ in range(workers):
                pool.submit(int)  # starts a process, while none is idle yet
        yield pool
    except BaseException as error:
        for process in set(active_children()) - others:
            process.terminate()  # what they render is not wanted any more
        if isinstance(error, BrokenProcessPool):
            raise AvperceptionError(
                "a rendering process was ended from outside, perhaps for want of memory: "
                "close other programs, or render with --processes 1"
            ) from error
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started here do not spread small matrix products over all cores."""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Ctrl-C is for the process that writes: those started here ignore it from their first moment on.

    (A blocked signal would be kept, but multiprocessing's resource tracker undoes the blocking.)
    """
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_scene_here: Scene | None = None


def _start_process(scene: Scene) -> None:
    global _scene_here
    cv2.setNumThreads(1)
    _scene_here = scene


def _render_here(number: int) -> list[Message]:
    assert _scene_here is not None
    return _render(_scene_here, number)


def _render(scene: Scene, number: int) -> list[Message]:
    stamp_ns = stamp_of(scene, number)
    frame = scene.frame(number / scene.rate)
    return [
        (topic, stamp_ns, bytes(typestore().serialize_cdr(message, msgtype)))
        for topic, msgtype, message in messages.frame_messages(frame, scene.rig, stamp_ns)
    ]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
