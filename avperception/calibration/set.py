"""A calibration set: a folder of images and what is known of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from avperception.calibration.coverage import Coverage
from avperception.types import Image


class CalibrationSet:
    """The images that a network is calibrated with.

    `hash` is one sha256 over all images and their order, `coverage` what light and sharpness they have.
    """

    folder: Path
    hash: str
    coverage: Coverage

    @classmethod
    def load(cls, folder: Path) -> CalibrationSet:
        """Open a set that `calibrate collect` wrote, or any folder of images.

        Raises ConfigurationError if the folder is not there, cannot be read or holds no readable image.
        """
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def images(self) -> Iterator[Image]:
        """The images as bgr8, one at a time; unreadable ones are left out."""
        raise NotImplementedError
