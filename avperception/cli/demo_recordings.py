"""The recordings that `avperception demo` plays: the synthetic road, made once, or a user's own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from avperception.bags import BagWriter, convert_video
from avperception.errors import BagError
from avperception.scenes import Scene, write_recording

if TYPE_CHECKING:
    from importlib.abc import Traversable

Progress = Callable[[int, int], None]
"""Told frames done and frames in all."""

ROAD_PREFIX = "synthetic_road_"
_BAG_SUFFIXES = (".mcap", ".db3")


@dataclass(frozen=True)
class Recording:
    """A recording to play, and in one line each what it lacks."""

    path: Path
    failures: tuple[str, ...] = ()


def synthetic_recording(scene: Scene, folder: Path, progress: Progress) -> Recording:
    """Give the scene's recording in `folder`, rendered if it is not there yet; those of other scenes go.

    The file's name tells what made it: the scene's options and the source of the renderer. It appears
    when it is complete, so one that is there is whole. Raises BagError.
    """
    path = folder / f"{ROAD_PREFIX}{_fingerprint(scene)}.mcap"
    if path.is_file():
        return Recording(path)
    for old in folder.glob(f"{ROAD_PREFIX}{'[0-9a-f]' * 12}.mcap"):
        with suppress(OSError):  # it only takes room
            old.unlink()
    write_recording(scene, path, progress=progress)
    return Recording(path)


def users_recording(source: Path, folder: Path, progress: Progress) -> Recording:
    """Give a rosbag2 as it is, and a video as NAME.mcap made of it in `folder`; raises BagError."""
    if not source.exists():
        raise BagError(f"{source} does not exist: give a rosbag2 recording or a video")
    if source.is_dir() or source.suffix in _BAG_SUFFIXES:
        return Recording(source)
    target = folder / f"{source.stem}.mcap"
    with BagWriter(target, overwrite=True) as writer:
        # As JPEG: the pixels of a minute of video take gigabytes.
        summary = convert_video(source, writer, compressed=True, progress=progress)
    return Recording(target, summary.failures)


def _fingerprint(scene: Scene) -> str:
    """Twelve hexadecimal digits that change with the options and with the code that renders."""
    digest = hashlib.sha256()
    cameras = [camera.name for camera in scene.rig.cameras]
    beams = len(scene.rig.lidar.elevations) if scene.rig.lidar else 0
    options = (scene.seed, scene.condition, scene.road, scene.duration, scene.rate, cameras, beams)
    digest.update(repr(options).encode())
    for source in _sources(files("avperception.scenes")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def _sources(folder: Traversable) -> Iterator[Traversable]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _sources(entry)
        elif entry.name.endswith(".py"):
            yield entry
