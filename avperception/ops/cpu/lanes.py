"""Lane lines from a pixel mask, on the host."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from avperception.types import Bool, Float32, Float64, UInt8

SAMPLED_ROWS = 96
MIN_ROWS = 8
MAX_GAP_ROWS = 8
"""Sampled rows that a dashed line may skip."""

MAX_RUNS = 24
"""Runs of lane pixels in a row beyond which it is noise; no road has so many lines."""

MAX_LINES = 32
"""Lines that are given at most."""

REACH = 0.03
"""How far from where it was expected a line may go on, as a part of the image's width."""


@dataclass
class _Line:
    """A lane line while it is followed upward: its points so far and where it should go on."""

    columns: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def expected_column(self, row: int) -> float:
        """Extrapolate from the last points, a few rows apart so that one ragged row cannot turn it."""
        if len(self.rows) < 4:
            return self.columns[-1]
        slope = (self.columns[-1] - self.columns[-4]) / (self.rows[-1] - self.rows[-4])
        return self.columns[-1] + slope * (row - self.rows[-1])


def trace_lanes(labels: UInt8, lane_id: int) -> Float32:
    """Follow the lines of class `lane_id` in a label image (height, width), packed as (L, 1 + rows, 2).

    Of each line the first entry begins with its number of points, which follow as x y pixels, near to far.
    """
    lines = lane_lines(labels == lane_id)
    packed = np.zeros((len(lines), 1 + len(sampled_rows(labels.shape[0])), 2), dtype=np.float32)
    for target, line in zip(packed, lines, strict=True):
        target[0, 0] = len(line)
        target[1 : 1 + len(line)] = line
    return packed


def unpack_lanes(packed: Float32) -> tuple[Float32, ...]:
    """Give the lines that `trace_lanes` packed, each (M, 2); places without a line hold no points."""
    counts = packed[:, 0, 0].astype(int)
    return tuple(packed[place, 1 : 1 + counts[place]].copy() for place in np.flatnonzero(counts))


def sampled_rows(height: int) -> range:
    """The rows of an image that are looked at, from the bottom up: 96 or a few more."""
    return range(height - 1, -1, -row_step(height))


def row_step(height: int) -> int:
    """Pixels between two sampled rows."""
    return max(1, height // SAMPLED_ROWS)


def lane_lines(mask: Bool) -> tuple[Float32, ...]:
    """Follow the lane lines in a mask (height, width); each is an (M, 2) polyline of x y pixels, near to far.

    Rows are sampled from the bottom up; in each, the middle of a run of lane pixels continues the line
    that leads to it, or starts a new one. Lines seen in fewer than 8 of 96 sampled rows are left out.
    They are ordered by their nearest point, left to right.
    """
    height, width = mask.shape
    lines: list[_Line] = []
    for row in sampled_rows(height):
        centres = _run_centres(mask[row])
        if len(centres) <= MAX_RUNS:
            _continue_lines(lines, row, row_step(height), centres, reach=REACH * width)
    good = [line for line in lines if len(line.rows) >= MIN_ROWS][:MAX_LINES]
    good.sort(key=lambda line: line.columns[0])
    return tuple(np.stack([line.columns, line.rows], axis=1).astype(np.float32) for line in good)


def _run_centres(row: Bool) -> Float64:
    edges = np.flatnonzero(np.diff(np.pad(row, 1).view(np.int8)))
    return (edges[::2] + edges[1::2] - 1) / 2


def _continue_lines(lines: list[_Line], row: int, step: int, centres: Float64, reach: float) -> None:
    """Give each run to the line that expects it nearest, every line taking one; the rest start lines."""
    open_lines = [line for line in lines if line.rows[-1] - row <= step * MAX_GAP_ROWS]
    pairs = sorted(
        (abs(line.expected_column(row) - centre), line_index, run_index)
        for line_index, line in enumerate(open_lines)
        for run_index, centre in enumerate(centres)
    )
    used_lines: set[int] = set()
    used_runs: set[int] = set()
    for distance, line_index, run_index in pairs:
        if distance > reach or line_index in used_lines or run_index in used_runs:
            continue
        used_lines.add(line_index)
        used_runs.add(run_index)
        open_lines[line_index].columns.append(float(centres[run_index]))
        open_lines[line_index].rows.append(row)
    for run_index, centre in enumerate(centres):
        if run_index not in used_runs:
            lines.append(_Line([float(centre)], [row]))
