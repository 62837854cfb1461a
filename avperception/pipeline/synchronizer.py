"""Brings a sweep and the cameras' detections of the same moment together, never waiting for the dead."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from avperception.types import CameraDetections, LidarResult

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
    """One sweep with the nearest detections of each camera; `missing` names the cameras without one.

    `arrived_ns` is when the sweep came, in the clock of `Synchronizer.expire`.
    """

    lidar: LidarResult
    cameras: tuple[CameraDetections, ...]
    missing: tuple[str, ...]
    arrived_ns: int = 0


@dataclass(frozen=True)
class Moment:
    """When a sensor looked: its stamp, on its `lap`, after so many `jumps` of all sensors.

    Stamps that go backwards begin a lap. Two sensors of a recording that loops begin theirs one after the
    other, in any order: what is of one lap belongs together. One sensor that jumps by itself parts the laps
    for good: then what came without a jump in between belongs together.
    """

    stamp_ns: int
    lap: int
    jumps: int

    def is_of_one_time_with(self, other: Moment) -> bool:
        return self.lap == other.lap or self.jumps == other.jumps


@dataclass
class _Camera:
    """What is known of one camera: results at hand, images still in work, and whether it is alive."""

    offset_ns: int = 0
    results: deque[tuple[Moment, CameraDetections]] = field(
        default_factory=lambda: deque(maxlen=RESULTS_KEPT)
    )
    in_work: list[Moment] = field(default_factory=list)
    lap: int = 0
    last: Moment | None = None
    period_ns: int | None = None
    absent: bool = False

    def take(self, stamp_ns: int) -> Moment | None:
        """Take the image with this stamp out of work, the older one of two laps first."""
        found = next((moment for moment in self.in_work if moment.stamp_ns == stamp_ns), None)
        if found is not None:
            self.in_work.remove(found)
        return found


@dataclass
class _Sweep:
    lidar: LidarResult
    moment: Moment
    arrived_ns: int


class Synchronizer:
    """Pairs sweeps with the cameras' detections by stamp, in the sweeps' order.

    Tell it of every image that arrives (`announce`), and then of its detections (`add_camera`) or its
    loss (`withdraw`); of every sweep that arrives (`announce_lidar`), and of what came of it
    (`add_lidar`). A sweep goes out as soon as each camera has given the image nearest to it. It waits up
    to the timeout for an image to arrive, and for as long as one that did arrive is being worked on. A
    camera that let a sweep time out is not waited for again until it delivers an image.

    Not safe for several threads: the caller holds a lock.
    """

    def __init__(self, offsets_ns: dict[str, int], settings: SyncSettings) -> None:
        self.settings = settings
        self._cameras = {name: _Camera(offset) for name, offset in offsets_ns.items()}
        self._sweeps: deque[_Sweep] = deque()
        self._lap = 0
        self._jumps = 0

    def announce(self, camera: str, stamp_ns: int) -> None:
        """An image with this stamp has arrived and is being worked on."""
        state = self._cameras[camera]
        moment = Moment(stamp_ns + state.offset_ns, state.lap, self._jumps)
        if state.last is not None and moment.stamp_ns > state.last.stamp_ns:
            state.period_ns = moment.stamp_ns - state.last.stamp_ns
        state.last = moment
        state.in_work.append(moment)
        state.absent = False

    def withdraw(self, camera: str, stamp_ns: int) -> list[SyncedSet]:
        """The announced image gave no detections; gives the sets that need not wait for it any more."""
        state = self._cameras[camera]
        state.take(stamp_ns + state.offset_ns)
        return self._release(now_ns=None)

    def add_camera(self, result: CameraDetections) -> list[SyncedSet]:
        """Take the detections of an announced image; gives the sets that are now complete."""
        state = self._cameras[result.camera]
        stamp_ns = result.stamp_ns + state.offset_ns
        moment = state.take(stamp_ns) or Moment(stamp_ns, state.lap, self._jumps)
        state.results.append((moment, result))
        return self._release(now_ns=None)

    def announce_lidar(self, stamp_ns: int) -> Moment:
        """A sweep with this stamp has arrived and is being prepared; gives what `add_lidar` needs of it."""
        return Moment(stamp_ns, self._lap, self._jumps)

    def add_lidar(self, lidar: LidarResult, moment: Moment, now_ns: int) -> list[SyncedSet]:
        """Take a sweep that arrived at `now_ns`, in the clock of `expire`; gives the complete sets."""
        self._sweeps.append(_Sweep(lidar, moment, now_ns))
        return self._release(now_ns)

    def expire(self, now_ns: int) -> list[SyncedSet]:
        """Give the sets whose waiting time is over at `now_ns`."""
        return self._release(now_ns)

    def restart_camera(self, camera: str) -> None:
        """This camera's stamps went backwards: what comes now is paired with sweeps of that time."""
        state = self._cameras[camera]
        self._jumps += 1
        state.lap += 1
        state.last = state.period_ns = None

    def restart_lidar(self) -> None:
        """The sweeps' stamps went backwards: those that come now are paired with images of that time."""
        self._jumps += 1
        self._lap += 1

    def restart_clock(self, now_ns: int) -> None:
        """The clock of `expire` has jumped to `now_ns`: what waits does so from now on."""
        for sweep in self._sweeps:
            sweep.arrived_ns = now_ns

    def _release(self, now_ns: int | None) -> list[SyncedSet]:
        sets = []
        while self._sweeps:
            sweep = self._sweeps[0]
            expired = now_ns is not None and now_ns - sweep.arrived_ns >= self.settings.timeout_ns
            full = len(self._sweeps) > SWEEPS_KEPT
            in_work = [name for name in self._cameras if self._is_in_work(name, sweep.moment)]
            due = [name for name in self._cameras if self._is_due(name, sweep.moment)]
            if not full and (in_work or (due and not expired)):
                break
            if expired:
                self._mark_absent(due)
            sets.append(self._set_of(sweep))
            self._sweeps.popleft()
        return sets

    def _is_in_work(self, camera: str, sweep: Moment) -> bool:
        """Tell whether an image that has arrived will give a nearer result than the one at hand."""
        distance = self._distance_at_hand(camera, sweep)
        return any(
            image.is_of_one_time_with(sweep) and abs(image.stamp_ns - sweep.stamp_ns) < distance
            for image in self._cameras[camera].in_work
        )

    def _is_due(self, camera: str, sweep: Moment) -> bool:
        """Tell whether an image that has not arrived may be nearer than the one at hand."""
        state = self._cameras[camera]
        if state.absent:
            return False
        last = state.last
        # A camera that is still to jump, or to begin, will deliver; one that is past the sweep will not.
        will_jump = state.lap < sweep.lap
        if last is None or not last.is_of_one_time_with(sweep):
            return will_jump or state.lap == sweep.lap
        distance = self._distance_at_hand(camera, sweep)
        if distance > self.settings.max_interval_ns:
            return will_jump or last.stamp_ns <= sweep.stamp_ns + self.settings.max_interval_ns
        next_ns = None if state.period_ns is None else last.stamp_ns + state.period_ns
        return next_ns is not None and abs(next_ns - sweep.stamp_ns) < distance

    def _distance_at_hand(self, camera: str, sweep: Moment) -> int:
        """Time between a sweep and the nearest result, just over the interval when none can be paired."""
        nearest = self._nearest(camera, sweep)
        if nearest is None:
            return self.settings.max_interval_ns + 1
        return abs(nearest[0].stamp_ns - sweep.stamp_ns)

    def _nearest(self, camera: str, sweep: Moment) -> tuple[Moment, CameraDetections] | None:
        """The result at hand that is nearest to a sweep, None when none can be paired."""
        near = [
            (moment, result)
            for moment, result in self._cameras[camera].results
            if moment.is_of_one_time_with(sweep)
            and abs(moment.stamp_ns - sweep.stamp_ns) <= self.settings.max_interval_ns
        ]
        return min(near, key=lambda pair: abs(pair[0].stamp_ns - sweep.stamp_ns), default=None)

    def _set_of(self, sweep: _Sweep) -> SyncedSet:
        found: list[CameraDetections] = []
        missing: list[str] = []
        for name in self._cameras:
            nearest = self._nearest(name, sweep.moment)
            if nearest is None:
                missing.append(name)
            else:
                found.append(nearest[1])
                self._join_laps(name, nearest[0], sweep.moment)
        return SyncedSet(sweep.lidar, tuple(found), tuple(missing), sweep.arrived_ns)

    def _join_laps(self, camera: str, image: Moment, sweep: Moment) -> None:
        """Count a camera's laps as the lidar's again, after one of the two had jumped by itself."""
        state = self._cameras[camera]
        shift = sweep.lap - image.lap

        def shifted(moment: Moment) -> Moment:
            return replace(moment, lap=moment.lap + shift) if moment.lap >= image.lap else moment

        if not shift:
            return
        state.lap += shift
        state.last = shifted(state.last) if state.last else None
        state.in_work = [shifted(moment) for moment in state.in_work]
        results = [(shifted(moment), result) for moment, result in state.results]
        state.results = deque(results, maxlen=RESULTS_KEPT)

    def _mark_absent(self, cameras: list[str]) -> None:
        for name in cameras:
            self._cameras[name].absent = True
