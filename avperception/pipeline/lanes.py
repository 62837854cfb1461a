"""Lane lines: from a pixel mask to polylines in the image, and from there onto the ground."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from avperception.ops.cpu import undistort
from avperception.types import Bool, CameraModel, Float32, Float64

SAMPLED_ROWS = 96
MIN_ROWS = 8
MAX_GAP_ROWS = 8
"""Sampled rows that a dashed line may skip."""

MAX_RUNS = 24
"""Runs of lane pixels in a row beyond which it is noise; no road has so many lines."""


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


def lane_lines(mask: Bool) -> tuple[Float32, ...]:
    """Follow the lane lines in a mask (height, width); each is an (M, 2) polyline of x y pixels, near to far.

    Rows are sampled from the bottom up; in each, the middle of a run of lane pixels continues the line
    that leads to it, or starts a new one. Lines seen in fewer than 8 of 96 sampled rows are left out.
    """
    height, width = mask.shape
    lines: list[_Line] = []
    step = max(1, height // SAMPLED_ROWS)
    for row in range(height - 1, -1, -step):
        centres = _run_centres(mask[row])
        if len(centres) <= MAX_RUNS:
            _continue_lines(lines, row, step, centres, reach=0.03 * width)
    good = [line for line in lines if len(line.rows) >= MIN_ROWS]
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


def lane_on_ground(
    line: Float32, camera: CameraModel, T_target_camera: Float64, max_distance: float
) -> Float64:
    """Lay a lane line (M, 2) in pixels onto the ground plane z = 0 of the target frame, as (K, 3) metres.

    The rays of the pixels are cut with the plane; what lies above the horizon or farther from the
    camera than `max_distance` [m] is left out. Exact on flat ground only.
    """
    normalised = undistort(line, camera.K, camera.D, camera.distortion_model)
    rays = np.concatenate([normalised, np.ones((len(normalised), 1))], axis=1) @ T_target_camera[:3, :3].T
    origin = T_target_camera[:3, 3]
    down = rays[:, 2] < -1e-6
    distance = -origin[2] / rays[down, 2]
    points = origin + rays[down] * distance[:, None]
    near = np.linalg.norm(points[:, :2] - origin[:2], axis=1) <= max_distance
    return np.asarray(points[(distance > 0) & near])
