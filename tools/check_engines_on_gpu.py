"""Builds and runs the engines of all models on a GPU host, compares them with ONNX Runtime, and times them.

    python3 tools/check_engines_on_gpu.py RTX --models ../shared/models --out benchmarks/results/engines.json

RTX is the folder into which TensorRT-RTX was packed (`tensorrt_rtx.tar.xz`) or unpacked; `installed` takes
the TensorRT that is installed. `--prebuilt DIR` adds engines that another machine built. The host needs
NumPy, CuPy, onnx, onnxruntime, OpenCV, PyYAML and rich, and no network. A table is printed; exit code 1 if
an error is past its limit.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

from engine_check.numerics import (  # noqa: E402
    contexts_agree,
    errors,
    make_inputs,
    run,
    run_reference,
)
from engine_check.timing import (  # noqa: E402
    RUNS,
    cold_load,
    enqueued_ms,
    graph_ms,
    time_load,
    timed_load,
)

LIMITS = {"fp32": 1e-3, "fp16": 2e-2, "int8": None}
"""Largest relative error of an output: norm of the difference over norm of what is wanted."""

VARIANTS = (("fp32", False), ("fp32", True), ("fp16", False))
"""Precision, and whether TF32 is asked for."""


def main() -> int:
    """Check everything, write the record, print the table."""
    arguments = parse()
    with tempfile.TemporaryDirectory(prefix="engine-check-") as work:
        prepare_environment(arguments, Path(work))
        if arguments.load:
            print(json.dumps(time_load(arguments.load)))
            return 0
        record = check_all(arguments)
    print_table(record)
    return 1 if any(row["failed"] for row in record["engines"]) else 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("rtx", metavar="RTX", help="folder of the packed TensorRT-RTX, or `installed`")
    parser.add_argument("--models", type=Path, required=True, help="folder with the ONNX files of the cards")
    parser.add_argument("--images", type=Path, help="folder of images; noise that looks like a scene without")
    parser.add_argument("--prebuilt", type=Path, help="folder with engines built elsewhere, with manifests")
    parser.add_argument("--only", nargs="*", help="names of models; all that are there without")
    parser.add_argument("--precisions", nargs="*", default=["fp32", "fp16"], help="both without")
    parser.add_argument(
        "--layers", nargs="*", default=[], help="models to find the layers of that TF32 hurts"
    )
    parser.add_argument("--out", type=Path, default=Path("engines.json"), help="where the record goes")
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare_environment(arguments: argparse.Namespace, work: Path) -> None:
    """Let this process, and those it starts, find TensorRT, the models and folders of their own."""
    os.environ.setdefault("AVPERCEPTION_ENGINES", str(work / "engines"))
    os.environ.setdefault("XDG_CACHE_HOME", str(work / "cache"))
    os.environ["AVPERCEPTION_MODELS"] = str(arguments.models.resolve())
    if arguments.rtx == "installed":
        return
    folder = Path(arguments.rtx)
    if (folder / "tensorrt_rtx.tar.xz").is_file():
        with tarfile.open(folder / "tensorrt_rtx.tar.xz") as archive:
            archive.extractall(work / "rtx", filter="data")
        folder = work / "rtx"
    if not (folder / "tensorrt_rtx_bindings").is_dir():
        sys.exit(f"{arguments.rtx} holds neither tensorrt_rtx.tar.xz nor tensorrt_rtx_bindings/")
    os.environ["AVPERCEPTION_TENSORRT"] = "tensorrt_rtx"
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(folder), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    )
    sys.path.insert(0, str(folder))


def check_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Build, load, compare and time the engines of all models; give the record, written model by model."""
    from avperception import __version__
    from avperception.engines.adapter import flavour
    from avperception.engines.machine import current_machine

    machine = current_machine()
    if machine.gpu is None:
        sys.exit(f"this host has no GPU: {machine.gpu_problem}")
    rows: list[dict[str, Any]] = []
    record = {
        "gpu": machine.gpu.name,
        "compute_capability": machine.gpu.compute_capability,
        "driver": machine.driver,
        "cuda": machine.cuda,
        "tensorrt": str(flavour()),
        "images": str(arguments.images.name) if arguments.images else "generated",
        "versions": {name: version(name) for name in ("numpy", "onnx", "onnxruntime")},
        "command": shlex.join(["tools/check_engines_on_gpu.py", *sys.argv[1:]]),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "avperception": __version__,
        "runs": RUNS,
        "limits": LIMITS,
        "engines": rows,
    }
    for card, network in cards(arguments.only):
        inputs = make_inputs(card, network, arguments.images)
        expected = run_reference(network, card.input.tensor, inputs)
        for precision, tf32 in VARIANTS:
            if precision not in arguments.precisions or (tf32 and rows[-1].get("tf32")):
                continue  # the latter is in TF32 already
            rows.append(built_here(card, precision, tf32, inputs, expected))
            print_row(rows[-1])
        for file in prebuilt(arguments.prebuilt, network, arguments.precisions):
            rows.append(measure(card.name, file, "elsewhere", inputs, expected))
            print_row(rows[-1])
        if card.name in arguments.layers:
            from engine_check.layers import trace_layers

            traced = trace_layers(network, card.input.tensor, inputs[0], tf32=True)
            record.setdefault("layers", {})[card.name] = traced
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(record, indent=1) + "\n")
    return record


def cards(only: list[str] | None) -> Iterator[tuple[Any, Path]]:
    """The model cards whose network is there, with its path."""
    from avperception.models.library import card_paths, load_named, locate, network_path

    for name, path in card_paths().items():
        card = load_named(path)
        if (only is None or name in only) and network_path(card):
            yield card, locate(card)


def prebuilt(folder: Path | None, network: Path, precisions: list[str]) -> list[Path]:
    """Engines of a network that another machine built."""
    if folder is None:
        return []
    return [file for name in precisions for file in sorted(folder.glob(f"{network.stem}.{name}.*.engine"))]


def built_here(
    card: Any, precision: Any, tf32: bool, inputs: list[Any], expected: list[dict[str, Any]]
) -> dict[str, Any]:
    """Build an engine for this GPU and measure it."""
    from avperception.engines.builder import BuildRequest, build_engine
    from avperception.engines.loading import find_engine
    from avperception.engines.options import CompilerOptions
    from avperception.models.library import locate

    request = BuildRequest(card, precision, CompilerOptions(tf32=tf32))
    built = build_engine(request, lambda stage, part: None)
    file = find_engine(locate(card), precision)  # the way the node takes, its manifest compared
    assert file.path == built.file.path
    row = measure(card.name, file.path, "here", inputs, expected)
    row["build_s"] = built.manifest.build.seconds
    row["exceptions"] = [asdict(exception) for exception in built.report.exceptions] if built.report else []
    if tf32:  # somebody chose speed over FP32 then
        row |= {"tf32_asked": True, "failed": "problem" in row or not agrees(row)}
    return row


def measure(
    model: str, path: Path, where: str, inputs: list[Any], expected: list[dict[str, Any]]
) -> dict[str, Any]:
    """One engine: errors, latency enqueued and as a CUDA graph, and what it takes to load."""
    from avperception.engines.engine_file import EngineFile
    from avperception.engines.manifest import read_manifest
    from avperception.errors import EngineError

    manifest = read_manifest(EngineFile(path).manifest_path)
    precision = manifest.precision["precision"]
    row: dict[str, Any] = {
        "model": model,
        "precision": precision,
        "tf32": manifest.build.tf32,
        "built": where,
        "targets": list(manifest.target.compute_capabilities),
        "engine": path.name,
    }
    try:
        cold = cold_load(path)
        engine, context, cached = timed_load(path)
        found = [run(context, array) for array in inputs]
        graph, graph_agrees = graph_ms(context)
        row |= {
            "errors": {name: errors(expected, found, name) for name in expected[0]},
            "load_cold": cold,
            "load_cached": cached,
            "enqueued_ms": round(enqueued_ms(context), 4),
            "graph_ms": graph,
            "graph_agrees": graph_agrees,
            "contexts_agree": contexts_agree(engine, inputs),
            "scratch_mib": engine.scratch_bytes >> 20,
        }
    except EngineError as error:
        return row | {"failed": True, "problem": str(error)}
    limit = LIMITS[precision]
    worst = max(error["relative"] for error in row["errors"].values())
    return row | {"failed": not agrees(row) or (limit is not None and not worst <= limit)}


def agrees(row: dict[str, Any]) -> bool:
    """Whether graphs and contexts at work side by side gave what one context gives by itself."""
    return bool(row["contexts_agree"] and row["graph_agrees"])


def print_row(row: dict[str, Any]) -> None:
    """Say that an engine is done."""
    print(f"  {label(row)}: {row.get('problem', 'measured')}", flush=True)


def label(row: dict[str, Any]) -> str:
    """An engine in a few words."""
    tf32 = " tf32" if row["precision"] == "fp32" and row["tf32"] else ""
    return f"{row['model']} {row['precision']}{tf32} built {row['built']}"


def print_table(record: dict[str, Any]) -> None:
    """Print the record for people."""
    print(f"\n{record['gpu']}, driver {record['driver']}, {record['tensorrt']}")
    form = "{:<40} {:>9} {:>9} {:>9} {:>9} {:>9}  {}"
    print(form.format("", "error", "enqueued", "graph", "JIT cold", "cached", ""))
    for row in record["engines"]:
        if "problem" in row:
            print(f"{label(row):<40} FAILED: {row['problem']}")
            continue
        worst = max(error["relative"] for error in row["errors"].values())
        graph = row["graph_ms"] if isinstance(row["graph_ms"], str) else f"{row['graph_ms']:.3f} ms"
        cold, cached = (
            f"{row[key]['context_s']:.2f} s" if "context_s" in row[key] else "failed"
            for key in ("load_cold", "load_cached")
        )
        print(
            form.format(
                label(row), f"{worst:.1e}", f"{row['enqueued_ms']:.3f} ms", graph, cold, cached,
                "FAILED" if row["failed"] else "",
            )
        )  # fmt: skip
    for model, layers in record.get("layers", {}).items():
        print(f"\nlayers of {model} with TF32 allowed, by their own error:")
        for layer in sorted(layers, key=lambda layer: -layer["of_this_layer"])[:8]:
            errors = (
                f"{layer['of_this_layer']:.1e} by itself, {layer['with_all_before']:.1e} with all before it"
            )
            print(f"  {layer['operator']:<14} {layer['node']:<28} {errors}")


if __name__ == "__main__":
    sys.exit(main())
