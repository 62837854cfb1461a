"""The report's page: one HTML file with its pictures, film and charts inside."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2

from avperception.drawing.palette import class_rgb
from avperception.errors import BagError
from avperception.report.charts import known_stages, latency_chart
from avperception.report.rows import class_rows, condition_scores

MAX_OVERLAYS = 6
OVERLAY_WIDTH = 1680
JPEG_QUALITY = 82

SCORE_TITLES = {
    "ap50": "2D boxes, AP at IoU 0.5",
    "ap3d_1m": "3D boxes, AP at 1 m",
    "miou": "Segmentation, IoU",
}


@dataclass(frozen=True)
class Report:
    """What a report tells.

    `summary` is metrics.json's content, `evaluation` that of evaluation.json or None without truth;
    `film` an animated WebP and `overlays` pictures with a caption each, in the order to show them.
    `facts` are name and value of what was run on what.
    """

    title: str
    intro: str
    command: str
    summary: Mapping[str, Any]
    facts: Mapping[str, str]
    evaluation: Mapping[str, Any] | None = None
    film: Path | None = None
    overlays: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = field(default=())


def write_report(report: Report, path: Path) -> None:
    """Write the page whole or not at all; raises BagError."""
    html = render(report)
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(html, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise BagError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def render(report: Report) -> str:
    """Give the page as HTML; raises BagError if a picture cannot be read."""
    # Jinja2 is needed by reports only.
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("avperception.report", "."), autoescape=True)
    environment.filters |= {"share": _share, "shade": _shade, "colour": _colour}
    evaluation = report.evaluation
    return environment.get_template("report.html.jinja").render(
        report=report,
        rows=class_rows(report.summary, evaluation),
        scores=condition_scores(evaluation) if evaluation else {},
        score_titles=SCORE_TITLES,
        film=_data_uri("image/webp", _read(report.film)) if report.film else None,
        overlays=[(_overlay(path), path, caption) for path, caption in _some(report.overlays)],
        latency_chart=latency_chart(report.summary["latency_ms"]),
        stages=known_stages(report.summary["latency_ms"]),
    )


def _some(overlays: tuple[tuple[Path, str], ...]) -> list[tuple[Path, str]]:
    """At most six, from the first to the last."""
    count = min(len(overlays), MAX_OVERLAYS)
    return [overlays[round(i * (len(overlays) - 1) / max(1, count - 1))] for i in range(count)]


def _overlay(path: Path) -> str:
    """An overlay picture as a smaller JPEG, in a data URI."""
    picture = cv2.imread(str(path))
    if picture is None:
        raise BagError(f"cannot read the picture {path}: was it removed meanwhile?")
    if picture.shape[1] > OVERLAY_WIDTH:
        height = round(picture.shape[0] * OVERLAY_WIDTH / picture.shape[1])
        picture = cv2.resize(picture, (OVERLAY_WIDTH, height), interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return _data_uri("image/jpeg", jpeg.tobytes())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BagError(f"cannot read {path}: {error.strerror or error}") from error


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _shade(value: float | None) -> str:
    """Background of a score's cell: the better, the deeper the green, from 0.3 on."""
    strength = 0.0 if value is None else min(max((value - 0.3) / 0.7, 0.0), 1.0)
    return f"rgba(38, 150, 92, {0.06 + 0.5 * strength:.2f})"


def _colour(class_name: str) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in class_rgb(class_name))
