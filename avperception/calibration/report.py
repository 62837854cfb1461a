"""What a calibration set covers, in words and as a picture."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avperception.calibration.conditions import ADVICE, CONDITIONS, MISSING_BELOW, condition_of
from avperception.calibration.coverage import Coverage, feature_range
from avperception.calibration.set import CalibrationSet
from avperception.calibration.statistics import FEATURES
from avperception.errors import ConfigurationError

SHOWN_IMAGES = 24


@dataclass(frozen=True)
class SetReport:
    """Share of every condition in the set, and which of them are missing."""

    images: int
    shares: dict[str, float]
    missing: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """The report in plain lines."""
        shown = ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items() if share)
        found = [f"{self.images} images, by rules of thumb: {shown}"]
        found += [f"missing: {name}: add {ADVICE[name]}" for name in self.missing]
        return found


def report_on(coverage: Coverage) -> SetReport:
    """Say what a set covers; a condition with less than 2 % of the images is missing."""
    total = max(1, coverage.images)
    shares = {name: coverage.conditions.get(name, 0) / total for name in CONDITIONS}
    missing = tuple(name for name, share in shares.items() if share < MISSING_BELOW)
    return SetReport(coverage.images, shares, missing)


def draw_report(calibration: CalibrationSet, path: Path) -> Path:
    """Draw histograms of all statistics, brightness over contrast, the conditions and some images.

    Gives the file that was written: `path`, as PNG with that ending if it has none. Raises
    ConfigurationError if the picture cannot be written; nothing is left of it then.
    """
    if path.is_dir():
        raise ConfigurationError(
            f"{path} is a folder: name a file for the picture, such as {path}/coverage.png"
        )
    path = path if path.suffix else path.with_name(f"{path.name}.png")
    from matplotlib.figure import Figure

    coverage = calibration.coverage
    report = report_on(coverage)
    figure = Figure(figsize=(16, 10), layout="constrained")
    grid = figure.add_gridspec(3, 5)
    for index, name in enumerate(FEATURES):
        _draw_histogram(figure.add_subplot(grid[index // 4, index % 4]), name, coverage)
    _draw_conditions(figure.add_subplot(grid[0, 4]), report)
    _draw_scatter(figure.add_subplot(grid[1, 4]), calibration)
    _draw_images(figure.add_subplot(grid[2, :]), calibration)
    missing = f"missing: {', '.join(report.missing)}" if report.missing else "every condition is there"
    figure.suptitle(f"{calibration.folder.name}: {len(calibration)} images; {missing} (rules of thumb)")
    _save(figure, path)
    return path


def _save(figure: Any, path: Path) -> None:
    picture = io.BytesIO()
    try:
        figure.savefig(picture, dpi=80, format=path.suffix[1:])
    except ValueError as error:
        raise ConfigurationError(f"{path} cannot be drawn: {error}: name a .png file") from error
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(picture.getvalue())
        os.replace(temporary, path)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror or error}: "
            "free the disk or name another file with --out"
        ) from error
    finally:
        with suppress(OSError):  # a part on a full disk, or none
            temporary.unlink()


def _draw_histogram(axes: Any, name: str, coverage: Coverage) -> None:
    feature = coverage.features[name]
    low, high = feature_range(name)
    edges = np.linspace(low, high, len(feature.counts) + 1)
    axes.bar(edges[:-1], feature.counts, width=np.diff(edges), align="edge", color="#3b7dd8")
    axes.axvspan(feature.low, feature.high, color="#3b7dd8", alpha=0.15)
    axes.set(title=name.replace("_", " "), xlim=(low, high))
    axes.title.set_size(10)


def _draw_conditions(axes: Any, report: SetReport) -> None:
    names = list(report.shares)
    colours = ["#d04040" if name in report.missing else "#3a9d5d" for name in names]
    axes.barh(names, [100 * report.shares[name] for name in names], color=colours)
    for row, name in enumerate(names):
        label = "missing" if name in report.missing else f"{report.shares[name]:.0%}"
        axes.text(1, row, label, va="center", fontsize=9)
    axes.invert_yaxis()
    axes.set(title="condition, % of images", xlim=(0, 100))
    axes.title.set_size(10)


def _draw_scatter(axes: Any, calibration: CalibrationSet) -> None:
    for name in CONDITIONS:
        rows = [m.statistics for m in calibration.members if condition_of(m.statistics) == name]
        if rows:
            axes.scatter([r.brightness for r in rows], [r.contrast for r in rows], s=14, label=name)
    axes.set(xlabel="brightness", ylabel="contrast", xlim=(0, 1), ylim=(0, 0.5))
    axes.legend(fontsize=7)


def _draw_images(axes: Any, calibration: CalibrationSet) -> None:
    """Images evenly from dark to bright."""
    order = np.argsort([member.statistics.brightness for member in calibration.members], kind="stable")
    picks = order[np.linspace(0, len(order) - 1, min(SHOWN_IMAGES, len(order))).round().astype(int)]
    axes.imshow(_sheet([_small(calibration.members[i].path) for i in picks])[..., ::-1])
    axes.set_axis_off()


def _small(path: Path) -> NDArray[np.uint8]:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        return np.zeros((135, 240, 3), dtype=np.uint8)
    return cv2.resize(pixels, (240, 135), interpolation=cv2.INTER_AREA)


def _sheet(images: Sequence[NDArray[np.uint8]], columns: int = 8) -> NDArray[np.uint8]:
    blank = np.full((135, 240, 3), 255, dtype=np.uint8)
    padded = [*images, *[blank] * (-len(images) % columns)]
    rows = [np.hstack(padded[start : start + columns]) for start in range(0, len(padded), columns)]
    return np.vstack(rows)
