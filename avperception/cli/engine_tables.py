"""The tables that `avperception engine` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from avperception.engines.check import CheckReport
from avperception.engines.precision import PrecisionReport, SensitivityRow

_MAX_NAMES = 3
_MEMORY_NAMES = {"activation_bytes": "activations", "weight_bytes": "weights", "scratch_bytes": "scratch"}


def console() -> Console:
    """A console whose tables are not folded where nobody looks at a terminal."""
    found = Console()
    return found if found.is_terminal else Console(width=200)


def list_table(rows: list[dict[str, Any]]) -> Table:
    """The built engines, one a row, and whether each can be used here."""
    table = Table("engine", "precision", "for", "TensorRT", "built", "here", box=None, header_style="bold")
    for row in rows:
        state = "[green]valid[/]" if row["valid"] else "[bold red]no[/]"
        if row["for_another_machine"]:
            state = "[yellow]there is no GPU here[/]"
        table.add_row(
            escape(row["file"].rpartition("/")[2]),
            row.get("precision", ""),
            escape(row.get("gpu") or ", ".join(row.get("compute_capabilities", ()))),
            row.get("tensorrt", ""),
            row.get("built", "")[:16].replace("T", " "),
            state,
        )
    return table


def layer_table(layers: list[Mapping[str, Any]]) -> Table:
    """The layers of an engine in their order."""
    table = Table("#", "kind", "precision", "ONNX nodes", "output", "weights", box=None, header_style="bold")
    for number, layer in enumerate(layers):
        weights = f"{layer['weight_bytes'] / 1024:.1f} KiB" if layer["weight_bytes"] else ""
        table.add_row(
            str(number),
            escape(layer["kind"]),
            layer["precision"],
            escape(_names(layer["operators"]) or layer["name"]),
            escape(", ".join(tensor.partition(" ")[2] for tensor in layer["outputs"])),
            weights,
        )
    return table


def memory_text(memory: Mapping[str, int]) -> str:
    """The memory an engine takes on the GPU, in a few words."""
    parts = [f"{name} {memory[key] / 2**20:.1f} MiB" for key, name in _MEMORY_NAMES.items() if key in memory]
    return ", ".join(parts) or "memory unknown"


def sensitivity_table(rows: Sequence[SensitivityRow]) -> Table:
    """What each group of layers costs in INT8, the costliest first."""
    table = Table("layers", "drop in INT8", "kept out", box=None, header_style="bold")
    for row in sorted(rows, key=lambda row: row.drop, reverse=True):
        table.add_row(escape(_names(row.nodes)), f"{100 * row.drop:.2f} %", "yes" if row.kept_out else "")
    return table


LARGE_DROP = 0.02
"""A drop of the task's metric from which on a build says what to do about it."""


def drop_text(report: PrecisionReport) -> str:
    """What the precision costs on the calibration images, in a line; empty if nothing could be measured."""
    found = report.metric
    if found is None:
        return ""
    text = (
        f"drop of {found.metric}, FP32's results as truth: {found.search:.2%} on {found.search_images} images"
    )
    if found.held_out is not None:
        text += f", {found.held_out:.2%} on {found.held_out_images} held out"
    if found.held_out_bound is not None:
        text += f" (19 times of 20 below {found.held_out_bound:.2%} on others of the kind)"
    if report.precision == "int8" and found.search > LARGE_DROP and not report.table:
        text += ": another --calibrator may lose less, `--max-drop 1%` leaves out of int8 what costs most"
    return text


def exceptions_table(report: PrecisionReport) -> Table:
    """The layers that are not in the precision asked for."""
    table = Table("layer", "precision", "reason", box=None, header_style="bold")
    for layer in report.exceptions:
        table.add_row(escape(layer.name), layer.precision, escape(layer.reason))
    return table


def check_table(report: CheckReport) -> Table:
    """The errors of an engine against the FP32 network."""
    title = f"{report.runtime}\nagainst the FP32 network on {report.images} images"
    table = Table("what", "value", title=escape(title), title_justify="left", box=None, header_style="bold")
    for name, error in report.output_errors.items():
        table.add_row(f"output {escape(name)}: largest error, of its largest value", f"{error:.2e}")
    drop = "cannot be measured" if report.drop is None else f"{100 * report.drop:.2f} %"
    table.add_row(f"drop of {report.metric}, FP32's results as truth", drop)
    return table


def _names(names: list[str] | tuple[str, ...]) -> str:
    shown = ", ".join(names[:_MAX_NAMES])
    return f"{shown} and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else shown
