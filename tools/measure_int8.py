"""What INT8 costs each model with each calibrator, on the host, where no GPU is needed.

    python tools/measure_int8.py --calibration SET --unseen SET --models DIR --out RECORD.json

Each network is quantised with every calibrator, all nodes in INT8, and with the best of them once more with
`--max-drop`. Both are run in ONNX Runtime and compared with the FP32 network, its results as truth: on the
images that they were calibrated with, and on those of another set, which had no part in it. A table is
printed, the record is written network by network; exit code 1 if a mix does not hold its limit on the
unseen images. Sets of a hundred images take some minutes a network with calibrators alone, and as much
again with the search.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from avperception import __version__  # noqa: E402
from avperception.calibration.set import CalibrationSet  # noqa: E402
from avperception.engines.precision import CALIBRATORS, PrecisionRequest, prepare_onnx  # noqa: E402
from avperception.engines.precision.judge import run_network  # noqa: E402
from avperception.engines.precision.metric import Outputs, task_metric  # noqa: E402
from avperception.engines.precision.network_file import load_network  # noqa: E402
from avperception.engines.precision.samples import InputMaker  # noqa: E402
from avperception.errors import AvperceptionError, ConfigurationError  # noqa: E402
from avperception.models.card import ModelCard  # noqa: E402
from avperception.models.library import card_paths, load_named, locate  # noqa: E402


def main() -> int:
    """Measure every model, write the record, print the table."""
    arguments = parse()
    os.environ["AVPERCEPTION_MODELS"] = str(arguments.models.resolve())
    calibration, unseen = (
        CalibrationSet.load(folder) for folder in (arguments.calibration, arguments.unseen)
    )
    rows: list[dict[str, Any]] = []
    record = facts(arguments, calibration, unseen) | {"networks": rows}
    for card in cards(arguments.only):
        for row in measured(card, calibration, unseen, arguments.max_drop):
            rows.append(row)
            print(line(row), flush=True)
            arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 1 if any(row.get("held") is False for row in rows) else 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calibration", type=Path, required=True, help="set to calibrate with")
    parser.add_argument(
        "--unseen", type=Path, required=True, help="set of other recordings to measure on too"
    )
    parser.add_argument("--models", type=Path, required=True, help="folder with the ONNX files of the cards")
    parser.add_argument("--only", nargs="*", help="names of models; all that are there without")
    parser.add_argument("--max-drop", type=float, default=0.01, help="as a share; 0: no search")
    parser.add_argument("--out", type=Path, default=Path("int8.json"), help="where the record goes")
    return parser.parse_args()


def facts(
    arguments: argparse.Namespace, calibration: CalibrationSet, unseen: CalibrationSet
) -> dict[str, Any]:
    """What was measured, with which versions, on what machine."""
    return {
        "command": shlex.join(["tools/measure_int8.py", *sys.argv[1:]]),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "avperception": __version__,
        "versions": {name: version(name) for name in ("numpy", "onnx", "onnxruntime")},
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "calibration": about(calibration),
        "unseen": about(unseen),
        "max_drop": arguments.max_drop,
    }


def about(images: CalibrationSet) -> dict[str, Any]:
    """How many images a set has, of which recordings and conditions, and its hash."""
    return {
        "images": len(images),
        "recordings": sorted({str(member.origin.get("bag", "")) for member in images.members}),
        "conditions": dict(images.coverage.conditions),
        "hash": images.hash,
    }


def cards(only: list[str] | None) -> Iterator[ModelCard]:
    """The cards whose networks are here."""
    for name, path in card_paths().items():
        if only is None or name in only:
            try:
                card = load_named(path)
                locate(card)
            except AvperceptionError as error:
                print(f"{name}: left out: {error}", file=sys.stderr)
            else:
                yield card


def measured(
    card: ModelCard, calibration: CalibrationSet, unseen: CalibrationSet, max_drop: float
) -> Iterator[dict[str, Any]]:
    """One row a calibrator, then one of the best of them with the limit."""
    others = Unseen(card, unseen)
    rows = []
    for calibrator in CALIBRATORS:
        rows.append(row_of(card, calibrator, calibration, others, None))
        yield rows[-1]
    if max_drop:
        best = min(rows, key=lambda row: float(row["drop"]))["calibrator"]
        yield row_of(card, best, calibration, others, max_drop)


class Unseen:
    """Images of recordings that a network was not calibrated with, and what FP32 gives for them."""

    def __init__(self, card: ModelCard, images: CalibrationSet) -> None:
        network = locate(card)
        model = load_network(network)
        self._card = card
        self._make_input = InputMaker(card, model, network)
        self._inputs = list(self._make_input.all(images.images()))
        self._references = list(run_network(model, self._make_input.name, self._inputs))
        self._recordings = [str(member.origin.get("bag", "")) for member in images.members]

    def drops(self, model: Any) -> dict[str, float | None]:
        """Drop of the metric on all images, under `all`, and on those of each recording."""
        outputs = list(run_network(model, self._make_input.name, self._inputs))
        found = {"all": self._drop(range(len(outputs)), outputs)}
        for recording in sorted(set(self._recordings)):
            own = [index for index, name in enumerate(self._recordings) if name == recording]
            found[recording] = self._drop(own, outputs)
        return found

    def _drop(self, positions: Sequence[int], outputs: Sequence[Outputs]) -> float | None:
        metric = task_metric(self._card, self._make_input.size)
        for position in positions:
            metric.add_reference(self._references[position])
        if not metric.measurable:
            return None
        return round(metric.drop([outputs[position] for position in positions]), 5)


def row_of(
    card: ModelCard, calibrator: Any, calibration: CalibrationSet, unseen: Unseen, max_drop: float | None
) -> dict[str, Any]:
    """Quantise one network and measure it; `held` says whether a limit does on the unseen images."""
    begin = time.monotonic()
    row: dict[str, Any] = {"network": card.name, "calibrator": calibrator, "max_drop": max_drop}
    with tempfile.TemporaryDirectory(prefix="measure-int8-") as folder:
        target = Path(folder) / "int8.onnx"
        request = PrecisionRequest("int8", calibrator, calibration, (), max_drop, card)
        try:
            report = prepare_onnx(locate(card), target, request, lambda stage, done, total: None)
        except ConfigurationError as error:
            return row | {"refused": str(error), "seconds": round(time.monotonic() - begin, 1)}
        by_recording = unseen.drops(load_network(target))
    total = by_recording.pop("all")
    metric = report.metric
    return row | {
        "metric": metric.metric if metric else None,
        "drop": metric.search if metric else None,
        "held_out": metric.held_out if metric else None,
        "held_out_bound": metric.held_out_bound if metric else None,
        "unseen": total,
        "unseen_by_recording": by_recording,
        "held": None if max_drop is None or total is None else total <= max_drop,
        "nodes_in_int8": report.quantized_nodes,
        "nodes": report.quantized_nodes + sum(e.precision == "fp16" for e in report.exceptions),
        "seconds": round(time.monotonic() - begin, 1),
    }


def line(row: dict[str, Any]) -> str:
    """A row as it is printed."""
    limit = f" --max-drop {row['max_drop']:.1%}" if row["max_drop"] else ""
    head = f"{row['network']:16}{row['calibrator'] + limit:28}"
    if "refused" in row:
        return f"{head}refused: {row['refused']}"
    held_out = "" if row["held_out"] is None else f", held out {row['held_out']:.2%}"
    return (
        f"{head}{row['metric']} drops by {row['drop']:.2%}{held_out}, unseen {row['unseen']:.2%}, "
        f"{row['nodes_in_int8']} of {row['nodes']} nodes in INT8, {row['seconds']:.0f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
