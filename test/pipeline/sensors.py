"""Sensors that feed a synchronizer, with times in milliseconds."""

from __future__ import annotations

from builders import camera_result, empty_lidar

from avperception.pipeline.synchronizer import Moment, SyncedSet, Synchronizer, SyncSettings

INTERVAL, TIMEOUT = 50, 100
Brief = tuple[float, dict[str, float], set[str]]


def ms(time: float) -> int:
    return round(time * 1e6)


class Sensors:
    """Feeds a synchroniser and keeps what comes out: sweep stamp, each camera's stamp, the missing."""

    def __init__(
        self, *cameras: str, offsets: dict[str, float] | None = None, interval: float = INTERVAL
    ) -> None:
        offsets_ns = {name: ms((offsets or {}).get(name, 0)) for name in cameras}
        self.synchronizer = Synchronizer(offsets_ns, SyncSettings(ms(interval), ms(TIMEOUT)))
        self.out: list[Brief] = []

    def announce(self, camera: str, stamp: float) -> None:
        self.synchronizer.announce(camera, ms(stamp))

    def result(self, camera: str, stamp: float) -> list[Brief]:
        return self._take(self.synchronizer.add_camera(camera_result(camera, ms(stamp))))

    def image(self, camera: str, stamp: float) -> list[Brief]:
        """An image arrives and its result is there at once."""
        self.announce(camera, stamp)
        return self.result(camera, stamp)

    def withdraw(self, camera: str, stamp: float) -> list[Brief]:
        return self._take(self.synchronizer.withdraw(camera, ms(stamp)))

    def sweep(self, stamp: float, now: float | None = None) -> list[Brief]:
        """A sweep arrives and is prepared at once."""
        return self.prepared(self.announce_sweep(stamp), now)

    def announce_sweep(self, stamp: float) -> Moment:
        return self.synchronizer.announce_lidar(ms(stamp))

    def prepared(self, sweep: Moment, now: float | None = None) -> list[Brief]:
        arrived = sweep.stamp_ns if now is None else ms(now)
        return self._take(self.synchronizer.add_lidar(empty_lidar(sweep.stamp_ns), sweep, arrived))

    def expire(self, now: float) -> list[Brief]:
        return self._take(self.synchronizer.expire(ms(now)))

    def restart_lidar(self) -> None:
        self.synchronizer.restart_lidar()

    def restart_camera(self, camera: str) -> None:
        self.synchronizer.restart_camera(camera)

    def _take(self, sets: list[SyncedSet]) -> list[Brief]:
        briefs = [
            (s.lidar.stamp_ns / 1e6, {c.camera: c.stamp_ns / 1e6 for c in s.cameras}, set(s.missing))
            for s in sets
        ]
        self.out.extend(briefs)
        return briefs
