"""From a model card to an engine file with its manifest: precision, compilation, and all written at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from avperception import __version__
from avperception.calibration.set import CalibrationSet
from avperception.engines.adapter import flavour
from avperception.engines.compiler import CompiledEngine, check_buildable, compile_network
from avperception.engines.engine import TensorSpec
from avperception.engines.engine_file import EngineFile, engine_file, targets_here
from avperception.engines.files import locked, scratch_folder, sha256_of_file, write_together
from avperception.engines.machine import Machine, current_machine
from avperception.engines.manifest import (
    FORMAT,
    BuildFacts,
    EngineManifest,
    FileFacts,
    RequestFacts,
    TargetFacts,
    TensorFacts,
    TensorrtFacts,
    read_manifest,
)
from avperception.engines.options import CURRENT, CompilerOptions, Precision
from avperception.engines.parsing import CompiledTensor, read_tensors
from avperception.engines.precision import PrecisionReport, PrecisionRequest, prepare_onnx
from avperception.engines.precision.request import Calibrator
from avperception.errors import ConfigurationError, EngineError
from avperception.models.card import ModelCard
from avperception.models.check import check_tensors
from avperception.models.library import find_card, locate, reference

RTX_WITH_INT8 = (1, 7)
"""The first version of TensorRT-RTX that builds INT8 convolutions."""

WAITING = "waiting for another build of"
"""How the stage begins that a second build of an engine is in."""

Progress = Callable[[str, float], None]
"""Called with what is being done and the part of it that is done, 0 to 1."""


@dataclass(frozen=True)
class BuildRequest:
    """An engine to be built: of which network, in which precision, with which options of the builder.

    `calibration_set` is a folder, which int8 needs; `max_drop` a share (0.01 is 1 %).
    """

    card: ModelCard
    precision: Precision
    options: CompilerOptions = field(default_factory=CompilerOptions)
    calibrator: Calibrator = "entropy"
    calibration_set: Path | None = None
    keep_fp16: tuple[str, ...] = ()
    max_drop: float | None = None

    @staticmethod
    def again(manifest: EngineManifest, machine: Machine) -> BuildRequest:
        """The request that an engine was built by, for the GPU that is here if it was for another one.

        Raises ModelError if its model is not there any more.
        """
        asked = manifest.request
        return BuildRequest(
            card=find_card(asked.model),
            precision=manifest.precision["precision"],
            options=replace(manifest.options(), targets=targets_here(manifest, machine)),
            calibrator=asked.calibrator or "entropy",  # type: ignore[arg-type]
            calibration_set=Path(asked.calibration_set) if asked.calibration_set else None,
            keep_fp16=asked.keep_fp16,
            max_drop=asked.max_drop,
        )


@dataclass(frozen=True)
class BuildResult:
    """A built engine with its manifest and precision report; None if another process built it meanwhile."""

    file: EngineFile
    manifest: EngineManifest
    report: PrecisionReport | None


def build_engine(request: BuildRequest, progress: Progress) -> BuildResult:
    """Build an engine and write it with its manifest, layers and prepared network, all or nothing.

    A second build of the same engine waits for the first and takes its result. Raises EngineError,
    ModelError or ConfigurationError.
    """
    network = locate(request.card)
    check_buildable(network, request.options)
    _check_card(request, network)
    _check_precision(request)
    file = engine_file(network, request.precision, _targets(request.options))
    waited = False

    def waiting() -> None:
        nonlocal waited
        waited = True
        progress(f"{WAITING} {file.path.name}", 0.0)

    with locked(file.path, waiting):
        if waited and (manifest := _built_meanwhile(file, request, network)):
            return BuildResult(file, manifest, None)
        return _build(request, network, file, progress)


def _check_card(request: BuildRequest, network: Path) -> None:
    """Raise EngineError if TensorRT cannot take the network, ModelError if the card is of another one.

    An engine whose tensors are not the card's would be of no use to the node.
    """
    tensors = read_tensors(network, request.options.profiles)
    check_tensors(request.card, _specs(tensors.inputs), _specs(tensors.outputs))


def _specs(tensors: Iterable[CompiledTensor]) -> dict[str, TensorSpec]:
    return {tensor.name: TensorSpec(tensor.name, tensor.shape, np.dtype(tensor.dtype)) for tensor in tensors}


def _check_precision(request: BuildRequest) -> None:
    """Raise ConfigurationError for what only INT8 has, EngineError where TensorRT-RTX has no INT8."""
    if request.precision != "int8" and (request.keep_fp16 or request.max_drop is not None):
        raise ConfigurationError(
            "--keep-fp16 and --max-drop choose what is left out of int8, "
            f"--precision is {request.precision}: leave them away, or build with `--precision int8`"
        )
    found = flavour()
    version = tuple(int(part) for part in found.version.split(".")[:2] if part.isdecimal())
    if request.precision == "int8" and found.is_rtx and version < RTX_WITH_INT8:
        raise EngineError(
            f"--precision int8: {found} has no INT8 convolutions, {'.'.join(map(str, RTX_WITH_INT8))} has: "
            "run `pip install --upgrade avperception[tensorrt-rtx]`, or build it with `--precision fp16`"
        )


def _build(request: BuildRequest, network: Path, file: EngineFile, progress: Progress) -> BuildResult:
    with scratch_folder() as folder:
        prepared = folder / network.name
        report = _prepare(request, network, prepared, progress)
        source = prepared if prepared.is_file() else network
        compiled = _compile(request, network, source, report, progress)
        report = replace(report, notes=(*report.notes, *compiled.notes))
        contents = {}
        if source == prepared:
            contents[file.prepared_path] = prepared.read_bytes()
        contents[file.layers_path] = _layers_json(compiled)
        contents[file.path] = compiled.data
        kept = file.prepared_path if source == prepared else network
        manifest = _manifest(request, network, source, kept.name, file, compiled, report)
    # The manifest comes last: until it is there, the engine does not match the old one and is refused.
    contents[file.manifest_path] = manifest.as_json()
    write_together(contents)
    return BuildResult(file, manifest, report)


def _compile(
    request: BuildRequest, network: Path, source: Path, report: PrecisionReport, progress: Progress
) -> CompiledEngine:
    """Build the engine; an error names the network that the user knows, not the temporary one."""
    # What is left in FP32 of the other precisions is mostly there for its range, which TF32 has too.
    needs_fp32 = request.precision == "fp32" or report.exact_fp32
    options = replace(request.options, tf32=request.options.tf32 or not needs_fp32)
    try:
        return compile_network(
            source, options, lambda part, phase: progress(f"TensorRT: {phase or 'starting'}", part)
        )
    except EngineError as error:
        raise EngineError(str(error).replace(str(source), f"{network} in {request.precision}")) from error


def _prepare(request: BuildRequest, network: Path, prepared: Path, progress: Progress) -> PrecisionReport:
    """Convert the network into the precision asked for, into the file `prepared`; FP32 needs no file."""
    if request.precision == "fp32":
        return PrecisionReport("fp32")
    folder = request.calibration_set
    return prepare_onnx(
        network,
        prepared,
        PrecisionRequest(
            precision=request.precision,
            calibrator=request.calibrator,
            calibration=CalibrationSet.load(folder) if folder else None,
            keep_fp16=request.keep_fp16,
            max_drop=request.max_drop,
            card=request.card,
            # A DLA has no shuffle, and 2:4 weights are a pattern along the channels as they are.
            rewrite=request.options.dla_core is None and not request.options.sparse,
            tf32=request.options.tf32,
            input_shape=_usual_shape(request),
        ),
        lambda stage, done, total: progress(stage, done / max(total, 1)),
    )


def _usual_shape(request: BuildRequest) -> tuple[int, ...] | None:
    """The shape that a network with open axes is measured at; None where its own is fixed."""
    profile = request.options.profiles.get(request.card.input.tensor)
    return profile.optimum if profile else None


def _targets(options: CompilerOptions) -> tuple[str, ...]:
    gpu = current_machine().gpu
    return (gpu.compute_capability,) if options.targets == CURRENT and gpu else options.targets


def _built_meanwhile(file: EngineFile, request: BuildRequest, network: Path) -> EngineManifest | None:
    """The manifest of the engine that the other process built, if it is the one asked for here."""
    try:
        manifest = read_manifest(file.manifest_path)
    except EngineError:
        return None
    found = flavour()
    same = (
        manifest.request == _request_facts(request)
        and manifest.options() == request.options
        and manifest.precision["precision"] == request.precision
        and manifest.onnx.sha256 == sha256_of_file(network)
        and (manifest.tensorrt.flavour, manifest.tensorrt.version) == (found.name, found.version)
        and file.path.is_file()
        and sha256_of_file(file.path) == manifest.engine.sha256
    )
    return manifest if same else None


def _layers_json(compiled: CompiledEngine) -> bytes:
    return (json.dumps([layer.as_dict() for layer in compiled.layers], indent=1) + "\n").encode()


def _manifest(
    request: BuildRequest,
    network: Path,
    source: Path,
    source_name: str,
    file: EngineFile,
    compiled: CompiledEngine,
    report: PrecisionReport,
) -> EngineManifest:
    found, machine, options = flavour(), current_machine(), request.options
    return EngineManifest(
        format=FORMAT,
        engine=_data_facts(file.path.name, compiled.data),
        onnx=_data_facts(network.name, network.read_bytes()),
        prepared_onnx=_data_facts(source_name, source.read_bytes()),
        tensorrt=TensorrtFacts(found.name, found.version),
        target=TargetFacts(
            compute_capabilities=compiled.compute_capabilities,
            # TensorRT tunes for one model of GPU, TensorRT-RTX finishes its kernels on whichever it meets.
            gpu=None if found.is_rtx or machine.gpu is None else machine.gpu.name,
            platform=machine.platform,
        ),
        precision=json.loads(json.dumps(report.as_dict())),
        inputs=tuple(map(_tensor_facts, compiled.inputs)),
        outputs=tuple(map(_tensor_facts, compiled.outputs)),
        build=BuildFacts(
            time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            seconds=round(compiled.seconds, 2),
            package_version=__version__,
            driver=machine.driver,
            cuda=machine.cuda,
            workspace_mib=options.workspace_mib,
            optimization_level=options.optimization_level,
            dla_core=options.dla_core,
            sparse=options.sparse,
            tf32=compiled.tf32,
            memory=dict(compiled.memory),
            advice=compiled.advice,
            gpu=machine.gpu.name if machine.gpu else None,
        ),
        request=_request_facts(request),
    )


def _request_facts(request: BuildRequest) -> RequestFacts:
    quantized = request.precision == "int8"
    folder = request.calibration_set if request.precision != "fp32" else None
    return RequestFacts(
        model=reference(request.card),
        targets=request.options.targets,
        calibrator=request.calibrator if quantized else None,
        calibration_set=str(folder.absolute()) if folder else None,
        keep_fp16=request.keep_fp16,
        max_drop=request.max_drop,
        tf32=request.options.tf32,
    )


def _data_facts(name: str, data: bytes) -> FileFacts:
    return FileFacts(name, len(data), hashlib.sha256(data).hexdigest())


def _tensor_facts(tensor: CompiledTensor) -> TensorFacts:
    profile = tensor.profile
    shapes = (profile.minimum, profile.optimum, profile.maximum) if profile else None
    return TensorFacts(tensor.name, tensor.dtype, tensor.shape, shapes)
