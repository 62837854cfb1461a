"""A record as Markdown, with its figures as pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def markdown(record: Mapping[str, Any]) -> str:
    """The record for people; the pictures `stages.png` and `cameras.png` lie beside it."""
    machine, config = record["machine"], record["config"]
    where = machine["gpu"] or machine["cpu"]
    lines = [
        f"# Benchmark on {where}, {machine['date']}",
        "",
        f"{config['size']} {config['encoding']}, {config['frames']} frames after {config['warm_up']}; "
        f"driver {machine['driver']}, CUDA {machine['cuda']}, avperception {machine['avperception']}. "
        + "; ".join(f"{role}: {found['engine']}" for role, found in machine["networks"].items()),
        "",
        *_rows(("one camera", "p50 [ms]", "p99 [ms]"), _frame_rows(record)),
        *_single_figures(record),
        "![stages](stages.png)",
        "",
    ]
    if record.get("cameras"):
        keys = list(record["cameras"][0])
        lines += _rows(keys, [[str(row[key]) for key in keys] for row in record["cameras"]])
        lines += ["![cameras](cameras.png)", ""]
    if record.get("lidar"):
        keys = list(record["lidar"][0])
        lines += _rows(keys, [[str(row[key]) for key in keys] for row in record["lidar"]])
    return "\n".join(lines)


def _frame_rows(record: Mapping[str, Any]) -> list[list[str]]:
    rows = [("image to result", record["image_to_result_ms"])]
    if "image_to_detections_ms" in record:
        rows.append(("image to detections", record["image_to_detections_ms"]))
    rows += [(f"of that, {name}", times) for name, times in record.get("host_steps_ms", {}).items()]
    if "whole_frame_ms" in record:
        rows += [
            ("whole frame on the GPU, launch to results", record["whole_frame_ms"]),
            ("the same by the host's clock", record["whole_frame_by_host_clock_ms"]),
            ("image in ordinary memory to result", record["copied_images"]["image_to_result_ms"]),
            ("of that, copy to pinned memory", record["copied_images"]["copy_to_pinned_ms"]),
        ]
        rows += [(f"{role} alone", times) for role, times in record["engines_alone_ms"].items()]
    rows += [(f"stage {name}", times) for name, times in record["stages_ms"].items()]
    rows += [
        (name, result["image_to_result_ms"])
        for name, result in record.get("baselines", {}).items()
        if isinstance(result, Mapping)
    ]
    return [[name, f"{times['p50']:.3f}", f"{times['p99']:.3f}"] for name, times in rows]


def _single_figures(record: Mapping[str, Any]) -> list[str]:
    rate, cpu_ms = record["overlapped_hz"], record["cpu_ms"]
    lines = [f"- overlapped: {rate} frames a second; processor time {cpu_ms} ms a frame"]
    if "floor_ms" in record:
        copied = record["copied_images"]
        lines.append(
            f"- with images in ordinary memory: {copied['overlapped_hz']} frames a second; processor time "
            f"{copied['cpu_ms']} ms a frame, of which {copied['copy_to_pinned_cpu_ms']} ms copy "
            f"{copied['copy_to_pinned_bytes'] / 1e6:.1f} MB to pinned memory"
        )
        parts = ", ".join(f"{name} {value}" for name, value in record["floor_parts_ms"].items())
        lines.append(
            f"- floor {record['floor_ms']} ms ({parts}); whole frame {record['ratio_to_floor']} times that"
        )
        lines.append(f"- slower engine alone: {record['slower_engine_alone_hz']} a second")
    for name, factor in record.get("speedup_over", {}).items():
        lines.append(f"- {name}: " + _against(record, name, factor))
    if engines := record.get("engine_speedup_over_onnxruntime_cuda"):
        each = ", ".join(f"{role} {factor}" for role, factor in engines.items())
        lines.append(f"- the networks alone in ONNX Runtime, CUDA: {each} times as long (others report 3.7)")
    return [*lines, ""]


def _against(record: Mapping[str, Any], name: str, factor: float | None) -> str:
    if not factor:
        return str(record["baselines"][name])
    launch, overlapped = (record[f"speedup_over_{way}"][name] for way in ("from_launch", "overlapped"))
    return (
        f"{factor} times as long, image to result; {launch} times our whole frame on the GPU; "
        f"{overlapped} times what lies between two of our results when frames overlap"
    )


def _rows(head: Any, rows: list[list[str]]) -> list[str]:
    lines = [list(head), ["---"] * len(head), *rows]
    return [*("| " + " | ".join(line) + " |" for line in lines), ""]


def draw(record: Mapping[str, Any], folder: Path) -> None:
    """Draw the stages and the cameras' rates as PNG into a folder."""
    from matplotlib.figure import Figure

    stages = {name: times for name, times in record["stages_ms"].items() if name not in ("gpu", "camera")}
    figure = Figure(figsize=(8, 0.5 + 0.35 * len(stages)), layout="constrained")
    axes = figure.add_subplot()
    names = list(stages)[::-1]
    axes.barh(names, [stages[name]["p50"] for name in names], color="#2a78c8", label="median")
    axes.scatter([stages[name]["p99"] for name in names], names, color="#d9822b", zorder=3, label="p99")
    axes.set_xlabel("ms, each stage by itself")
    axes.legend(frameon=False)
    figure.savefig(folder / "stages.png", dpi=120)
    if not record.get("cameras"):
        return
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    counts = [row["cameras"] for row in record["cameras"]]
    for key in ("overlapped_hz", "one_by_one_hz", "launched_hz"):
        if key in record["cameras"][0]:
            axes.plot(counts, [row[key] for row in record["cameras"]], marker="o", label=key)
    axes.set_xlabel("cameras")
    axes.set_ylabel("frames a second, all together")
    axes.set_ylim(0)
    axes.legend(frameon=False)
    figure.savefig(folder / "cameras.png", dpi=120)
