from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from avperception.errors import BagError
from avperception.report import Report, versions, write_report

LATENCY = {"p50": 12.5, "p95": 20.0, "p99": 31.0}
SUMMARY: dict[str, Any] = {
    "frames": {"in": 5, "out": 4, "dropped": {"too_late": 1}},
    "latency_ms": {"camera_latency": LATENCY, "fusion": LATENCY, "unheard_of": LATENCY},
    "detections_2d": {"car": 7},
    "detections_3d": {"car": 6},
    "truth": {"objects": {"car": 9}, "found": {"car": 6}, "centre_error_m": {"car": {"median": 0.25}}},
}
EVALUATION: dict[str, Any] = {
    "ap50": {"car": 0.913},
    "ap3d_1m": {"car": 0.824, "all": 0.824},
    "centre_error_m": {"median": 0.17, "car": 0.17},
    "miou": 0.861,
    "by_condition": {
        name: {"ap50": {"car": ap}, "ap3d_1m": {}, "miou": None}
        for name, ap in (("day", 0.987), ("fog", 0.0))
    },
}


class Page(HTMLParser):
    """What a page refers to, its text, and whether every element is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text += data


def page(folder: Path, **changes: Any) -> Page:
    report = {
        "title": "A drive",
        "intro": "",
        "command": "avperception demo",
        "summary": SUMMARY,
        "facts": {},
    }
    write_report(Report(**{**report, **changes}), folder / "report.html")
    assert [path.name for path in folder.glob("*report.html*")] == ["report.html"]
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def pictures(folder: Path, count: int) -> tuple[tuple[Path, str], ...]:
    for number in range(count):
        picture = np.full((200, 2400, 3), 20 * number, np.uint8)
        assert cv2.imwrite(str(folder / f"{number:06d}.png"), picture)
    return tuple((folder / f"{number:06d}.png", f"picture {number}") for number in range(count))


def test_the_page_needs_no_other_file(tmp_path: Path) -> None:
    film = tmp_path / "film.webp"
    film.write_bytes(b"a film")
    found = page(tmp_path, film=film, overlays=pictures(tmp_path, 3), evaluation=EVALUATION)
    assert found.open == []
    assert found.tags.count("img") == 4 and "script" not in found.tags and "link" not in found.tags
    for reference in found.references:
        assert reference.startswith(("data:image/", "#")), reference[:80]
    film_uri = next(reference for reference in found.references if reference.startswith("data:image/webp"))
    assert base64.b64decode(film_uri.partition(",")[2]) == b"a film"
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "http" not in html.replace("http://www.w3.org/", "")  # names of SVG, no addresses


def test_the_figures_are_told(tmp_path: Path) -> None:
    found = page(tmp_path, evaluation=EVALUATION, facts={"machine": "a fast one"}, notes=("it is cut off",))
    text = re.sub(r"\s+", " ", found.text)
    for figure in ("4 / 5", "0.91", "0.82", "0.17 m", "0.86", "0.99", "day", "fog", "12 ms"):
        assert figure in text, figure
    for words in (
        "too_late (1)",
        "it is cut off",
        "a fast one",
        "avperception demo",
        "camera latency",
        "12.5",
    ):
        assert words in text, words
    assert "unheard" not in text


def test_without_truth_no_accuracy_is_shown(tmp_path: Path) -> None:
    bare = {name: value for name, value in SUMMARY.items() if name != "truth"}
    bare["frames"] = {"in": 4, "out": 4, "dropped": {}}
    text = page(tmp_path, summary=bare).text
    for word in ("AP", "IoU", "centre error", "truth", "To be known"):
        assert word not in text, word


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>&.mp4"
    found = page(tmp_path, title=nasty, command=nasty, facts={nasty: nasty}, notes=(nasty,))
    assert "script" not in found.tags and found.text.count(nasty) >= 4


def test_of_many_overlays_six_are_shown_from_first_to_last(tmp_path: Path) -> None:
    found = page(tmp_path, overlays=pictures(tmp_path, 10))
    assert found.tags.count("img") == 6
    assert re.findall(r"picture \d", found.text) == [f"picture {n}" for n in (0, 2, 4, 5, 7, 9)]
    first = next(reference for reference in found.references if reference.startswith("data:image/jpeg"))
    content = first.partition(",")[2]
    jpeg = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
    assert jpeg.shape == (140, 1680, 3)


def test_a_picture_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"gone\.png"):
        page(tmp_path, overlays=((tmp_path / "gone.png", ""),))
    assert not list(tmp_path.glob("*.html*"))


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(BagError, match=r"report\.html"):
        page(tmp_path / "gone")


def test_versions_name_what_results_depend_on() -> None:
    found = versions()
    assert {"avperception", "Python", "numpy", "cv2", "machine"} <= set(found)
    assert found["numpy"] == np.__version__ and "cores" in found["machine"]
