"""A calibration set: a folder of images and what is known of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from avperception.calibration.coverage import Coverage
from avperception.calibration.statistics import ImageStatistics, image_statistics
from avperception.errors import ConfigurationError
from avperception.types import Image, UInt8

SET_FILE = "set.json"
FORMAT = 1
SHOWN_SKIPPED = 3
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True)
class SetImage:
    """One image of a set: its file, digest, statistics, and where it was recorded, as set.json says it."""

    path: Path
    sha256: str
    statistics: ImageStatistics
    origin: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CalibrationSet:
    """The images that a network is calibrated with.

    `hash` is one sha256 over all images and their order, `coverage` what light and sharpness they have,
    `skipped` says of each file that could not be used why, one line each.
    """

    folder: Path
    members: tuple[SetImage, ...]
    skipped: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: Path) -> CalibrationSet:
        """Open a set that `calibrate collect` wrote, or any folder of images (PNG, JPEG, BMP).

        Damaged files are left out and named in `skipped`. Raises ConfigurationError if the folder is not
        there, cannot be read, holds no image that can be, or its set.json is not one.
        """
        try:
            description = folder / SET_FILE
            if description.is_file():
                members, skipped = _described(folder, description.read_bytes())
            else:
                members, skipped = _found(folder)
        except OSError as error:
            raise ConfigurationError(
                f"calibration set {folder} cannot be read: {error.strerror or error}: {_COLLECT}"
            ) from error
        if not members:
            damaged = f" ({len(skipped)} damaged: {skipped[0]})" if skipped else ""
            raise ConfigurationError(f"calibration set {folder} holds no usable image{damaged}: {_COLLECT}")
        return cls(folder, tuple(members), tuple(skipped))

    @property
    def hash(self) -> str:
        """One sha256 over the images' own and their order."""
        return hash_of(self.members)

    @property
    def coverage(self) -> Coverage:
        """What light and sharpness the images have."""
        return Coverage.of(member.statistics for member in self.members)

    @property
    def skipped_text(self) -> str:
        """How many files could not be used, and the first of them with the reason; empty if there is none."""
        if not self.skipped:
            return ""
        shown = "; ".join(self.skipped[:SHOWN_SKIPPED])
        more = len(self.skipped) - SHOWN_SKIPPED
        total = len(self) + len(self.skipped)
        return f"{len(self.skipped)} of {total} images: {shown}" + (f"; and {more} more" if more > 0 else "")

    def __len__(self) -> int:
        return len(self.members)

    def images(self, positions: Iterable[int] | None = None) -> Iterator[Image]:
        """The images at these positions, or all, as bgr8, one at a time; `frame_id` is the file's name.

        An image that has become unreadable since `load` is left out.
        """
        for position in range(len(self)) if positions is None else positions:
            path = self.members[position].path
            pixels = _decode(path)
            if pixels is not None:
                yield _image(pixels, path.stem)


def hash_of(members: Sequence[SetImage]) -> str:
    """One sha256 over the images' own and their order."""
    return hashlib.sha256("".join(f"{member.sha256}\n" for member in members).encode()).hexdigest()


_COLLECT = "make one with `avperception calibrate collect BAG --out SET`"


def _described(folder: Path, text: bytes) -> tuple[list[SetImage], list[str]]:
    """The images that set.json lists, each verified by its digest."""
    members, skipped = [], []
    try:
        description = json.loads(text)
        if description["format"] != FORMAT:
            raise ValueError(f"format is {description['format']}, not {FORMAT}")
        listed = [
            SetImage(
                folder / Path(str(entry["file"])).name,
                str(entry["sha256"]),
                ImageStatistics.from_dict(entry["statistics"]),
                entry,
            )
            for entry in description["images"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{folder / SET_FILE} is not the description of a calibration set ({error!r}): collect it again"
        ) from error
    for member in listed:
        if not member.path.is_file():
            skipped.append(f"{member.path.name} is missing")
        elif hashlib.sha256(member.path.read_bytes()).hexdigest() != member.sha256:
            skipped.append(f"{member.path.name} has been altered")
        else:
            members.append(member)
    return members, skipped


def _found(folder: Path) -> tuple[list[SetImage], list[str]]:
    """Every image of a folder, sorted by name."""
    members, skipped = [], []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        pixels = _decode(path)
        if pixels is None:
            skipped.append(f"{path.name} is no image that can be read")
            continue
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        members.append(SetImage(path, digest, image_statistics(_image(pixels, path.stem))))
    return members, skipped


def _decode(path: Path) -> UInt8 | None:
    try:
        data = np.fromfile(path, dtype=np.uint8)
        decoded: UInt8 | None = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except (OSError, cv2.error):
        return None
    return decoded


def _image(pixels: UInt8, name: str) -> Image:
    height, width = pixels.shape[:2]
    return Image(pixels, "bgr8", width, height, 0, name)
