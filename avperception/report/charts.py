"""Charts of a report, as SVG to be put into its page."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

STAGES = (
    "camera_latency",
    "detector_preprocess",
    "detector_network",
    "detector_decode",
    "segmenter_preprocess",
    "segmenter_network",
    "segmenter_argmax",
    "lanes",
    "camera_publish",
    "lidar_latency",
    "lidar",
    "fusion",
    "tracker",
    "fusion_publish",
)
"""Stages in the order in which the data goes through them, each camera's and the lidar's whole way first."""

_METADATA = ("Date", "Creator", "Format", "Type")
_WHOLE = ("camera_latency", "lidar_latency")
_INK, _FAINT, _BLUE, _ORANGE = "#1c2733", "#8896a5", "#2a78c8", "#d9822b"


def known_stages(latency_ms: Mapping[str, Any]) -> list[str]:
    """The stages of a replay's `latency_ms` that are worth showing, in the order of the data."""
    return [stage for stage in STAGES if stage in latency_ms]


def latency_chart(latency_ms: Mapping[str, Mapping[str, float]]) -> str:
    """Draw median, 95th and 99th percentile [ms] of each stage on a logarithmic axis; give an SVG element.

    Empty if no stage is known.
    """
    stages = known_stages(latency_ms)
    if not stages:
        return ""
    # Matplotlib takes half a second to import.
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "avperception", "font.size": 10}):
        figure = Figure(figsize=(7.2, 0.6 + 0.32 * len(stages)), layout="constrained")
        axes = figure.add_subplot()
        for row, stage in enumerate(stages):
            _draw_stage(axes, row, latency_ms[stage], _ORANGE if stage in _WHOLE else _BLUE)
        axes.set_yticks(range(len(stages)), [stage.replace("_", " ") for stage in stages])
        _style(axes)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata=dict.fromkeys(_METADATA))
    return buffer.getvalue()[buffer.getvalue().index("<svg") :]


def _draw_stage(axes: Any, row: int, times: Mapping[str, float], color: str) -> None:
    p50, p95, p99 = (max(times[name], 1e-3) for name in ("p50", "p95", "p99"))
    axes.plot([p50, p99], [row, row], color=color, linewidth=2, alpha=0.35, solid_capstyle="butt")
    axes.plot([p95], [row], marker="|", color=color, markersize=9)
    axes.plot([p50], [row], marker="o", color=color, markersize=7)
    axes.annotate(
        f"{p50:.1f}", (p50, row), (-8, 0), textcoords="offset points", ha="right", va="center", color=_INK
    )


def _style(axes: Any) -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 2.5, high)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("ms: dot median (with its number), tick 95 %, end 99 %", color=_FAINT)
    axes.invert_yaxis()
    axes.grid(axis="x", color="#e3e8ee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=_INK)
    for spine in axes.spines.values():
        spine.set_visible(False)
