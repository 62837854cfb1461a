"""Makes a calibration set of recordings: looks at every image, keeps those that cover the most."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avperception.calibration.choose import THUMBNAIL, choose_frames
from avperception.calibration.coverage import Coverage
from avperception.calibration.recorded import Recording, image_topics, recorded_images
from avperception.calibration.replacing import real_folder, refuse_foreign, replacing
from avperception.calibration.set import FORMAT, SET_FILE, CalibrationSet, SetImage, hash_of
from avperception.calibration.statistics import ImageStatistics, image_statistics
from avperception.errors import ConfigurationError
from avperception.ops.cpu import to_bgr
from avperception.types import UInt8

Opener = Callable[[], Any]
"""Opens one recording as a context manager that gives a Recording; called twice."""

Progress = Callable[[str, int, int], None]


@dataclass
class _Seen:
    """What was seen of all recordings: per frame its recording, number, statistics and thumbnail."""

    sources: list[tuple[int, int]] = field(default_factory=list)
    statistics: list[ImageStatistics] = field(default_factory=list)
    thumbnails: list[UInt8] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    topics: list[tuple[str, ...]] = field(default_factory=list)
    left_out: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True)
class CollectionSummary:
    """The set that was written, how many images it was chosen from, and those skipped by reason.

    `left_out` are image topics that were not looked at, for no camera_info is beside them.
    """

    set: CalibrationSet
    candidates: int
    skipped: dict[str, int]
    left_out: tuple[str, ...]


def collect(
    recordings: Sequence[Opener],
    out: Path,
    count: int,
    topics: Sequence[str] = (),
    replace: bool = False,
    progress: Progress | None = None,
) -> CollectionSummary:
    """Choose `count` images of the recordings and write them to the folder `out`, whole or not at all.

    With `replace`, a set that is there is replaced by the new one when that is whole, and kept if not.
    Raises ConfigurationError if `out` is in the way or no image can be used, BagError if a recording
    cannot be read.
    """
    progress = progress or (lambda stage, done, total: None)
    if count < 1:
        raise ConfigurationError(f"{count} images make no calibration set: ask for 1 or more")
    out = real_folder(out)
    refuse_foreign(out, replace)
    seen = _look(recordings, topics, progress)
    if not seen.statistics:
        reasons = ", ".join(f"{reason}: {n}" for reason, n in sorted(seen.skipped.items()))
        raise ConfigurationError(f"no image in the recordings can be used ({reasons or 'there is none'})")
    chosen = choose_frames(seen.statistics, np.stack(seen.thumbnails), count)
    with replacing(out, replace) as folder:
        members = _write_images(recordings, seen, chosen, folder, progress)
        _describe(folder, members, seen)
    return CollectionSummary(
        CalibrationSet.load(out), len(seen.statistics), dict(seen.skipped), tuple(seen.left_out)
    )


def _look(recordings: Sequence[Opener], topics: Sequence[str], progress: Progress) -> _Seen:
    """Measure every image of every recording."""
    seen = _Seen()
    for index, opener in enumerate(recordings):
        with opener() as recording:
            counts, left_out = image_topics(recording, topics)
            seen.topics.append(tuple(counts))
            seen.left_out.update(dict.fromkeys(left_out))
            for number, _, image in recorded_images(recording, seen.topics[-1], seen.skipped):
                seen.sources.append((index, number))
                seen.statistics.append(image_statistics(image))
                seen.thumbnails.append(_thumbnail(to_bgr(image)))
                progress(f"looking at {_name(recording)}", number + 1, sum(counts.values()))
    return seen


def _thumbnail(bgr: UInt8) -> UInt8:
    return cv2.cvtColor(cv2.resize(bgr, THUMBNAIL, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)


def _write_images(
    recordings: Sequence[Opener], seen: _Seen, chosen: Sequence[int], folder: Path, progress: Progress
) -> list[SetImage]:
    members: list[SetImage] = []
    for index, opener in enumerate(recordings):
        numbers = {seen.sources[frame][1]: frame for frame in chosen if seen.sources[frame][0] == index}
        if not numbers:
            continue
        with opener() as recording:
            images = recorded_images(recording, seen.topics[index], Counter(), numbers)
            for number, topic, image in images:
                origin = {"bag": _name(recording), "topic": topic, "stamp_ns": image.stamp_ns}
                path = folder / f"{len(members):04d}.png"
                digest = _write_png(path, to_bgr(image))
                members.append(SetImage(path, digest, seen.statistics[numbers[number]], origin))
                progress("writing", len(members), len(chosen))
    return members


def _write_png(path: Path, bgr: UInt8) -> str:
    """Write one image and give its sha256; raises OSError."""
    encoded, data = cv2.imencode(".png", bgr)
    if not encoded:
        raise OSError(f"an image of {bgr.shape[1]}x{bgr.shape[0]} cannot be stored as PNG")
    path.write_bytes(data.tobytes())
    return hashlib.sha256(data.tobytes()).hexdigest()


def _describe(folder: Path, members: Sequence[SetImage], seen: _Seen) -> None:
    description = {
        "format": FORMAT,
        "hash": hash_of(members),
        "candidates": len(seen.statistics),
        "skipped": dict(sorted(seen.skipped.items())),
        "coverage": Coverage.of(member.statistics for member in members).as_dict(),
        "images": [
            {
                "file": member.path.name,
                "sha256": member.sha256,
                **member.origin,
                "statistics": member.statistics.as_dict(),
            }
            for member in members
        ],
    }
    (folder / SET_FILE).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def _name(recording: Recording) -> str:
    return Path(recording.path).name
