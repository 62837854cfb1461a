"""The one table of `avperception demo`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from avperception.report.charts import known_stages
from avperception.report.rows import ClassRow, class_rows


def demo_table(summary: Mapping[str, Any], evaluation: Mapping[str, Any] | None, title: str) -> Table:
    """Detections by class with what is known of how right they are, and below latency by stage."""
    rows = class_rows(summary, evaluation)
    table = Table(title=escape(title), title_justify="left", title_style="bold")
    columns = _columns(rows[-1], has_lidar="fusion" in summary["latency_ms"])
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left")
    for row in rows[:-1]:
        table.add_row(*(column(row) for column in columns.values()))
    table.add_section()
    table.add_row(*(column(rows[-1]) for column in columns.values()), style="bold")
    table.add_section()
    blank = [""] * (len(columns) - 4)
    table.add_row("latency, ms", "median", "95 %", "99 %", *blank, style="bold")
    for stage in known_stages(summary["latency_ms"]):
        times = summary["latency_ms"][stage]
        table.add_row(
            stage.replace("_", " "), *(f"{times[name]:.1f}" for name in ("p50", "p95", "p99")), *blank
        )
    return table


def _columns(total: ClassRow, has_lidar: bool) -> dict[str, Any]:
    """What gives a cell of a row, by the column's title: four columns at least, for the latencies."""
    columns: dict[str, Any] = {
        "class": lambda row: row.class_name,
        "2D": lambda row: str(row.detections_2d),
    }
    if has_lidar:
        columns["3D"] = lambda row: str(row.detections_3d)
    if total.ap50 is not None:
        columns["AP50"] = lambda row: _score(row.ap50)
    if total.ap3d_1m is not None:
        columns["AP 3D, 1 m"] = lambda row: _score(row.ap3d_1m)
    if total.true_objects is not None:
        if total.ap50 is None:
            columns["found of true"] = lambda row: f"{row.found} of {row.true_objects}"
        columns["centre error, m"] = lambda row: _score(row.centre_error_m)
    for number in range(len(columns), 4):
        columns[" " * number] = lambda row: ""
    return columns


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
