"""`avperception engine`: build TensorRT engines, list, inspect and check them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from avperception.cli.engine_tables import (
    check_table,
    console,
    drop_text,
    exceptions_table,
    layer_table,
    list_table,
    memory_text,
    sensitivity_table,
)
from avperception.cli.progress import progress_bar
from avperception.engines.adapter import HOW_TO_INSTALL
from avperception.engines.builder import WAITING, BuildRequest, BuildResult, build_engine
from avperception.engines.check import CheckReport, check_engine
from avperception.engines.engine_file import (
    SUFFIX,
    EngineFile,
    StaleEngineError,
    engines_of,
    file_differences,
    rebuild_command,
    verify,
)
from avperception.engines.loading import built_engines, network_of
from avperception.engines.machine import Machine, current_machine
from avperception.engines.manifest import read_manifest
from avperception.engines.options import PRECISIONS, CompilerOptions, parse_profiles, parse_targets
from avperception.engines.precision import CALIBRATORS, NoMixError
from avperception.errors import ConfigurationError, EngineError, require_one_of
from avperception.models.card import ModelCard
from avperception.models.library import find_card, locate
from avperception.paths import share_directory

EXIT_FAILURES = 1

app = typer.Typer(help="Build, list, inspect and check TensorRT engines.", no_args_is_help=True)

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model's name, or the path of its card (.yaml).")
]
PrecisionOption = Annotated[str, typer.Option(help=f"{' | '.join(PRECISIONS)}.")]


@app.command("build")
def build(
    model: Model,
    precision: PrecisionOption = "fp16",
    target: Annotated[
        str, typer.Option(help="`current` GPU, or compute capabilities: sm86,sm89 (TensorRT-RTX).")
    ] = "current",
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="SET", help="Folder of images: INT8 needs it, FP16 should."),
    ] = None,
    calibrator: Annotated[str, typer.Option(help=f"{' | '.join(CALIBRATORS)}, for INT8.")] = "entropy",
    keep_fp16: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Layers to leave out of INT8: 'head.*'.")
    ] = None,
    max_drop: Annotated[
        str | None, typer.Option(metavar="SHARE", help="Leave layers out of INT8 until it holds: 0.5%.")
    ] = None,
    workspace: Annotated[int, typer.Option(metavar="MIB", help="Memory that kernels may compute in.")] = 1024,
    optimization_level: Annotated[int, typer.Option(metavar="0-5", help="5: longest build.")] = 3,
    dla: Annotated[
        int | None, typer.Option(metavar="CORE", help="Deep-learning accelerator, rest on the GPU.")
    ] = None,
    sparse: Annotated[bool, typer.Option("--sparse", help="Use 2:4 sparse weights.")] = False,
    tf32: Annotated[
        bool, typer.Option("--tf32", help="Let FP32 products be rounded to TF32: faster.")
    ] = False,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="INPUT=MIN,OPT,MAX", help="Shapes of an input with an open axis: 1x3x4x5,..."),
    ] = None,
) -> None:
    """Build the engine of a model, with its manifest; Ctrl-C leaves what was there before.

    TensorRT-RTX builds on any machine for the GPUs that --target names, TensorRT for its own GPU only.
    """
    require_one_of("--precision", precision, PRECISIONS)
    require_one_of("--calibrator", calibrator, CALIBRATORS)
    request = BuildRequest(
        card=_card(model),
        precision=precision,  # type: ignore[arg-type] # checked above
        options=CompilerOptions(
            targets=parse_targets(target),
            workspace_mib=workspace,
            optimization_level=optimization_level,
            dla_core=dla,
            sparse=sparse,
            tf32=tf32,
            profiles=parse_profiles(shape or []),
        ),
        calibrator=calibrator,  # type: ignore[arg-type] # checked above
        calibration_set=calibration,
        keep_fp16=tuple(keep_fp16 or ()),
        max_drop=None if max_drop is None else parse_share("--max-drop", max_drop),
    )
    try:
        with _build_bar() as progress:
            result = build_engine(request, progress)
    except NoMixError as error:
        if error.table:  # what costs so much is what the user wants to know
            console().print(sensitivity_table(error.table))
        raise
    _say_built(result)


@contextmanager
def _build_bar() -> Iterator[Callable[[str, float], None]]:
    """A bar on a terminal's stderr, told the stage and the part done; elsewhere a line while it waits."""
    screen = Console(stderr=True)
    if not screen.is_terminal:
        yield _say_waiting
        return
    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda stage, part: bar.update(task, completed=part, description=escape(stage))


def _say_waiting(stage: str, part: float) -> None:
    if stage.startswith(WAITING):
        typer.echo(f"{stage} ...", err=True)


def _say_built(result: BuildResult) -> None:
    manifest = result.manifest
    if result.report is None:
        typer.echo(f"{result.file.path}: another build made it meanwhile, its result is taken")
        return
    if result.report.table:
        console().print(sensitivity_table(result.report.table))
    if result.report.exceptions:
        console().print(exceptions_table(result.report))
    if text := drop_text(result.report):
        typer.echo(text)
    for note in result.report.notes:
        typer.echo(f"note: {note}")
    for advice in manifest.build.advice:
        typer.echo(f"the builder advises (--workspace is {manifest.build.workspace_mib} MiB): {advice}")
    typer.echo(
        f"{result.file.path}: {manifest.precision['precision']} for compute capability "
        f"{', '.join(manifest.target.compute_capabilities)}, {manifest.engine.bytes / 1e6:.1f} MB, "
        f"{memory_text(manifest.build.memory)}, built in {manifest.build.seconds:.1f} s "
        f"by {manifest.tensorrt.flavour} {manifest.tensorrt.version}"
    )


@app.command("list")
def list_engines(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Cards of your own (.yaml), beside what goes by name."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what is built, for which GPU, and whether it can be used here or why not."""
    machine = current_machine()
    rows = [_row(file, machine) for file in built_engines(map(find_card, models or []))]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif rows:
        console().print(list_table(rows))
        for row in rows:
            if not row["valid"] and not row["for_another_machine"]:
                name = row["file"].rpartition("/")[2]
                typer.echo(f"\n{name}: {'; '.join(row['reasons'])}: {_next_step(row, machine)}")
    else:
        typer.echo(
            "no engine is built yet: `avperception engine build MODEL` builds one; "
            "of a card in another folder give its path: `avperception engine list CARD.yaml`"
        )


def _next_step(row: dict[str, Any], machine: Machine) -> str:
    build = f"build it with `{row['command']}`"
    return build if machine.flavour else f"{HOW_TO_INSTALL}; if it does not fit then, {build}"


def _row(file: EngineFile, machine: Machine) -> dict[str, Any]:
    row: dict[str, Any] = {"file": str(file.path), "valid": True, "for_another_machine": False}
    try:
        manifest = read_manifest(file.manifest_path)
    except EngineError:
        pass
    else:
        row |= {
            "model": manifest.request.model,
            "precision": manifest.precision["precision"],
            "compute_capabilities": list(manifest.target.compute_capabilities),
            "gpu": manifest.target.gpu,
            "tensorrt": f"{manifest.tensorrt.flavour} {manifest.tensorrt.version}",
            "built": manifest.build.time,
        }
    try:
        verify(file, machine, network_of(file))
    except StaleEngineError as error:
        row |= {"valid": False, "for_another_machine": error.only_lacks_gpu}
        row |= {"reasons": list(map(str, error.differences)), "command": error.command}
    return row


@app.command("inspect")
def inspect(
    engine: Annotated[
        str, typer.Argument(metavar="ENGINE", help="An .engine file, or a model: its newest engine.")
    ],
    precision: Annotated[str | None, typer.Option(help="Of a model: the engine of this precision.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, every tensor included.")] = False,
) -> None:
    """Show the layers of an engine: what is fused into each, its precision, and the memory they take."""
    file = _engine(engine, precision)
    try:
        manifest = read_manifest(file.manifest_path)
    except EngineError as error:
        raise EngineError(
            f"{error}: build it with `{rebuild_command(file, None, current_machine())}`"
        ) from error
    try:
        layers = json.loads(file.layers_path.read_bytes())
    except (OSError, ValueError) as error:
        command = rebuild_command(file, manifest, current_machine())
        raise EngineError(
            f"the layers {file.layers_path} cannot be read ({error}): build it anew with `{command}`"
        ) from error
    for difference in file_differences(file, manifest):
        typer.echo(f"these are the layers as built, {file.path} is another by now: {difference}", err=True)
    if as_json:
        typer.echo(json.dumps({"manifest": json.loads(manifest.as_json()), "layers": layers}, indent=2))
        return
    console().print(layer_table(layers))
    counts: dict[str, int] = {}
    for layer in layers:
        counts[layer["precision"]] = counts.get(layer["precision"], 0) + 1
    by_precision = ", ".join(f"{count} {precision}" for precision, count in sorted(counts.items()))
    nodes = sum(len(layer["operators"]) for layer in layers)
    typer.echo(
        f"{len(layers)} layers of {nodes} ONNX nodes: {by_precision}; {memory_text(manifest.build.memory)}"
    )


@app.command("check")
def check(
    model: Model,
    images: Annotated[Path, typer.Option(metavar="DIR", help="Folder of real images.")],
    precision: PrecisionOption = "fp16",
    limit: Annotated[
        str, typer.Option(metavar="SHARE", help="Largest drop of the task's metric, AP or IoU.")
    ] = "1%",
    max_error: Annotated[
        str | None, typer.Option(metavar="SHARE", help="Largest error of an output, of its largest value.")
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="Images at most.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Compare a model's engine with the FP32 network on real images; exit code 1 past a limit.

    Without a GPU the network that the engine was built of runs on ONNX Runtime instead, and the result
    says so: it has the engine's precision, but not its kernels.
    """
    require_one_of("--precision", precision, PRECISIONS)
    largest_drop = parse_share("--limit", limit)
    largest_error = None if max_error is None else parse_share("--max-error", max_error)
    with progress_bar("comparing") as progress:
        report = check_engine(_card(model), precision, images, count, progress)
    failures = report.failures(largest_drop, largest_error)
    if as_json:
        typer.echo(json.dumps(report.as_dict() | {"failures": failures}, indent=2))
    else:
        _say_checked(report, failures)
    if failures:
        raise typer.Exit(EXIT_FAILURES)


def _say_checked(report: CheckReport, failures: list[str]) -> None:
    console().print(check_table(report))
    if report.skipped:
        typer.echo(f"skipped {report.skipped}", err=True)
    if not report.on_gpu:
        typer.echo(f"NOT the engine itself: {report.reason}; its network ran on ONNX Runtime instead")
    for failure in failures:
        typer.echo(f"failed: {failure}", err=True)


def _card(model: str) -> ModelCard:
    """The card of MODEL; a network in its place is said so, for its own error would be one of YAML."""
    if model.lower().endswith(".onnx"):
        raise ConfigurationError(
            f"{model} is a network, a model card (.yaml) is wanted: copy one of "
            f"{share_directory() / 'config' / 'models'}, put in file, classes and input, and compare both by "
            "`avperception models check CARD.yaml`"
        )
    return find_card(model)


def _engine(text: str, precision: str | None) -> EngineFile:
    """The engine file that is named, or the newest of a model."""
    if text.endswith(SUFFIX):
        file = EngineFile(Path(text).expanduser())
        if not file.path.is_file():
            raise EngineError(f"{text} is not there: `avperception engine list` shows what is built")
        return file
    if precision is not None:
        require_one_of("--precision", precision, PRECISIONS)
    network = locate(_card(text))
    files = engines_of(network, precision or "*")
    if not files:
        wanted = f" --precision {precision}" if precision else ""
        raise EngineError(f"no engine of {text} is built: run `avperception engine build {text}{wanted}`")
    return files[0]


def parse_share(option: str, text: str) -> float:
    """Read a share such as `0.5%` or `0.005`; raises ConfigurationError unless it is from 0 to 1."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(%?)", text.strip())
    share = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= share <= 1:
        raise ConfigurationError(f"{option} is {text!r}: it must be a share such as 0.5% or 0.005")
    return share
