"""One run of the demo: a recording through the node, and everything that is made of it."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avperception.cli.demo_recordings import Recording
from avperception.drawing.birds_eye import TrueBox
from avperception.errors import BagError
from avperception.replay.evaluate import Evaluation, new_book, read_truth
from avperception.replay.player import Frame
from avperception.replay.replay import ReplayOptions, ViewFinder, make_folder, replay, write_json
from avperception.report import Film, Report, versions, write_report

PICTURES = 10
PAGE, ANIMATION, EVALUATION = "report.html", "birds_eye.webp", "evaluation.json"


@dataclass(frozen=True)
class Job:
    """What is played into which folder; `networks` are parameters of the node.

    If `scored`, the recording has the synthetic road's ground truth, whose classes are the networks'.
    """

    recording: Recording
    folder: Path
    networks: dict[str, Any]
    title: str
    intro: str
    scored: bool


@dataclass(frozen=True)
class Outcome:
    """metrics.json's and evaluation.json's content, and the page."""

    summary: dict[str, Any]
    evaluation: dict[str, Any] | None
    page: Path


def clear(folder: Path) -> None:
    """Make the folder, and remove what an earlier run concluded, which the files of a new one would belie.

    Raises BagError if that cannot be done.
    """
    make_folder(folder)
    for name in (PAGE, ANIMATION, EVALUATION):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise BagError(f"cannot replace {folder / name}: {error.strerror or error}") from error


def run(job: Job, progress: Callable[[int, int], None]) -> Outcome:
    """Play the recording and write its page; raises what `replay` does, and BagError for a full disk."""
    page, animation = job.folder / PAGE, job.folder / ANIMATION
    accuracy = _Accuracy(job.recording.path) if job.scored else None
    film = Film(job.recording.path, accuracy.condition_at if accuracy else lambda _: None)

    def watch(frame: Frame, truth: tuple[TrueBox, ...], find_view: ViewFinder) -> None:
        film(frame, truth, find_view)
        if accuracy is not None:
            accuracy.add(frame)

    options = ReplayOptions(parameters=job.networks, max_pictures=PICTURES)
    begin = time.monotonic()
    summary = replay(job.recording.path, job.folder, options, progress, on_frame=watch)
    evaluation = accuracy.write(job.folder / EVALUATION) if accuracy else None
    seconds = time.monotonic() - begin
    has_film = film.save(animation)
    report = Report(
        title=job.title,
        intro=job.intro,
        command=f"avperception {shlex.join(sys.argv[1:])}",
        summary=summary,
        facts={**_facts(job, summary, seconds), **versions()},
        evaluation=evaluation,
        film=animation if has_film else None,
        overlays=_overlays(job.folder, film.captions),
        notes=job.recording.failures,
    )
    write_report(report, page)
    return Outcome(summary, evaluation, page)


class _Accuracy:
    """Scores the frames of a recording with the synthetic road's ground truth."""

    def __init__(self, recording: Path) -> None:
        truth = read_truth(recording)
        self._book = new_book([truth])
        self._evaluation = Evaluation(truth, self._book)
        self.condition_at = truth.condition

    def add(self, frame: Frame) -> None:
        """Score a frame's images and sweep."""
        self._evaluation.add([result for result, _ in frame.images], frame.fused)

    def write(self, path: Path) -> dict[str, Any]:
        """Write evaluation.json and give its content; raises BagError."""
        self._evaluation.finish()
        summary = self._book.summary()
        write_json(path, summary)
        return summary


def _facts(job: Job, summary: dict[str, Any], seconds: float) -> dict[str, str]:
    return {
        "recording": str(job.recording.path),
        "networks": ", ".join(str(name) for name in job.networks.values()),
        "replayed in": f"{seconds:.1f} s, {summary['frames']['out'] / max(seconds, 1e-6):.1f} frames/s, "
        "pictures and scoring included",
    }


def _overlays(folder: Path, captions: dict[int, str]) -> tuple[tuple[Path, str], ...]:
    """The pictures of the replay, in order, with the caption of their frame."""
    paths = sorted((folder / "overlays").glob("[0-9]*.png"))
    return tuple((path, captions.get(int(path.stem), path.stem)) for path in paths)
