"""Brings a sweep and the cameras' results of the same moment together, and never waits for the dead."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from avperception.types import CameraResult, LidarResult

RESULTS_KEPT = 8
"""Results kept per camera while their sweep has not come."""

SWEEPS_KEPT = 4
"""Sweeps that wait at once; one more sends the oldest out with the cameras it has."""


@dataclass(frozen=True)
class SyncSettings:
    """`max_interval_ns` between a sweep and an image of one set; `timeout_ns` a sweep waits for images."""

    max_interval_ns: int = 50_000_000
    timeout_ns: int = 100_000_000


@dataclass(frozen=True)
class SyncedSet:
    """One sweep with the nearest result of each camera; `missing` names the cameras without one."""

    lidar: LidarResult
    cameras: tuple[CameraResult, ...]
    missing: tuple[str, ...]


@dataclass
class _Camera:
    """What is known of one camera: results at hand, images still in work, and whether it is alive."""

    offset_ns: int = 0
    results: deque[tuple[int, CameraResult]] = field(default_factory=lambda: deque(maxlen=RESULTS_KEPT))
    in_work: set[int] = field(default_factory=set)
    last_ns: int | None = None
    period_ns: int | None = None
    absent: bool = False


@dataclass
class _Sweep:
    lidar: LidarResult
    arrived_ns: int


class Synchronizer:
    """Pairs sweeps with camera results by stamp, in the sweeps' order.

    Tell it of every image that arrives (`announce`), and then of its result (`add_camera`) or its loss
    (`withdraw`). A sweep goes out as soon as each camera has given the image nearest to it. It waits
    up to the timeout for an image to arrive, and for as long as one that did arrive is being worked on.
    A camera that let a sweep time out is not waited for again until it delivers an image.

    Not safe for several threads: the caller holds a lock.
    """

    def __init__(self, offsets_ns: dict[str, int], settings: SyncSettings) -> None:
        self.settings = settings
        self._cameras = {name: _Camera(offset) for name, offset in offsets_ns.items()}
        self._sweeps: deque[_Sweep] = deque()

    def announce(self, camera: str, stamp_ns: int) -> None:
        """An image with this stamp has arrived and is being worked on."""
        state = self._cameras[camera]
        stamp_ns += state.offset_ns
        if state.last_ns is not None and stamp_ns > state.last_ns:
            state.period_ns = stamp_ns - state.last_ns
        state.last_ns = stamp_ns
        state.in_work.add(stamp_ns)
        state.absent = False

    def withdraw(self, camera: str, stamp_ns: int) -> list[SyncedSet]:
        """The announced image gave no result; gives the sets that need not wait for it any more."""
        state = self._cameras[camera]
        state.in_work.discard(stamp_ns + state.offset_ns)
        return self._release(now_ns=None)

    def add_camera(self, result: CameraResult) -> list[SyncedSet]:
        """Take the result of an announced image; gives the sets that are now complete."""
        state = self._cameras[result.camera]
        stamp_ns = result.stamp_ns + state.offset_ns
        state.in_work.discard(stamp_ns)
        state.results.append((stamp_ns, result))
        return self._release(now_ns=None)

    def add_lidar(self, lidar: LidarResult, now_ns: int) -> list[SyncedSet]:
        """Take a sweep that arrived at `now_ns`, in the clock of `expire`; gives the complete sets."""
        self._sweeps.append(_Sweep(lidar, now_ns))
        return self._release(now_ns)

    def expire(self, now_ns: int) -> list[SyncedSet]:
        """Give the sets whose waiting time is over at `now_ns`."""
        return self._release(now_ns)

    def restart_camera(self, camera: str) -> None:
        """Forget this camera's results, for its stamps went backwards."""
        state = self._cameras[camera]
        self._cameras[camera] = _Camera(state.offset_ns, in_work=state.in_work)

    def restart_lidar(self) -> list[SyncedSet]:
        """Give the sweeps that wait with what they have, for their stamps or the clock went backwards."""
        waiting = [self._set_of(sweep) for sweep in self._sweeps]
        self._sweeps.clear()
        return waiting

    def _release(self, now_ns: int | None) -> list[SyncedSet]:
        sets = []
        while self._sweeps:
            sweep = self._sweeps[0]
            expired = now_ns is not None and now_ns - sweep.arrived_ns >= self.settings.timeout_ns
            full = len(self._sweeps) > SWEEPS_KEPT
            sweep_ns = sweep.lidar.stamp_ns
            in_work = [name for name in self._cameras if self._is_in_work(name, sweep_ns)]
            due = [name for name in self._cameras if self._is_due(name, sweep_ns)]
            if not full and (in_work or (due and not expired)):
                break
            if expired:
                self._mark_absent(due)
            sets.append(self._set_of(sweep))
            self._sweeps.popleft()
        return sets

    def _is_in_work(self, camera: str, sweep_ns: int) -> bool:
        """Tell whether an image that has arrived will give a nearer result than the one at hand."""
        distance = self._distance_at_hand(camera, sweep_ns)
        return any(abs(stamp - sweep_ns) < distance for stamp in self._cameras[camera].in_work)

    def _is_due(self, camera: str, sweep_ns: int) -> bool:
        """Tell whether an image that has not arrived may be nearer than the one at hand."""
        state = self._cameras[camera]
        distance = self._distance_at_hand(camera, sweep_ns)
        if state.absent:
            return False
        if distance > self.settings.max_interval_ns:
            return state.last_ns is None or state.last_ns <= sweep_ns + self.settings.max_interval_ns
        next_ns = (
            None if state.last_ns is None or state.period_ns is None else state.last_ns + state.period_ns
        )
        return next_ns is not None and abs(next_ns - sweep_ns) < distance

    def _distance_at_hand(self, camera: str, sweep_ns: int) -> int:
        """Time between a sweep and the nearest result, just over the interval when none can be paired."""
        stamps = (abs(stamp - sweep_ns) for stamp, _ in self._cameras[camera].results)
        return min([*stamps, self.settings.max_interval_ns + 1])

    def _set_of(self, sweep: _Sweep) -> SyncedSet:
        sweep_ns = sweep.lidar.stamp_ns
        found: list[CameraResult] = []
        missing: list[str] = []
        for name, state in self._cameras.items():
            near = [r for r in state.results if abs(r[0] - sweep_ns) <= self.settings.max_interval_ns]
            if near:
                found.append(min(near, key=lambda r: abs(r[0] - sweep_ns))[1])
            else:
                missing.append(name)
        return SyncedSet(sweep.lidar, tuple(found), tuple(missing))

    def _mark_absent(self, cameras: list[str]) -> None:
        for name in cameras:
            self._cameras[name].absent = True
