"""An engine against the FP32 network it was made of, on real images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avperception.calibration.set import CalibrationSet
from avperception.engines.engine import TensorSpec
from avperception.engines.engine_file import (
    EngineFile,
    StaleEngineError,
    engines_of,
    rebuild_command,
    verify,
)
from avperception.engines.files import sha256_of_file
from avperception.engines.loading import find_engine
from avperception.engines.machine import Machine, current_machine
from avperception.engines.manifest import EngineManifest, read_manifest
from avperception.errors import EngineError
from avperception.models.card import ModelCard
from avperception.models.check import check_tensors
from avperception.models.library import locate, reference

Outputs = dict[str, NDArray[Any]]
Progress = Callable[[int, int], None]
"""Called with the images that are done and how many there are."""


@dataclass(frozen=True)
class CheckReport:
    """How far an engine is from the FP32 network.

    `output_errors` maps each output to its largest absolute difference over FP32's largest absolute
    value; `drop` is one minus the task's `metric`, with the FP32 results as truth, None where FP32
    finds nothing. `skipped` says which files of the folder could not be read; `on_gpu` is False where the
    engine's network ran on ONNX Runtime for want of a GPU.
    """

    engine: str
    runtime: str
    on_gpu: bool
    reason: str
    images: int
    output_errors: dict[str, float]
    metric: str
    drop: float | None
    skipped: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)

    def failures(self, limit: float, max_error: float | None) -> list[str]:
        """What is past its limit, each in a few words; nothing if all is well. Both limits are shares."""
        found = []
        if self.drop is None:
            found.append(f"{self.metric} cannot be measured: FP32 finds nothing on these images")
        elif not self.drop <= limit:  # NaN is past every limit
            found.append(f"{self.metric} drops by {100 * self.drop:.2f} %, {100 * limit:g} % is allowed")
        for name, error in self.output_errors.items():
            if max_error is not None and not error <= max_error:
                found.append(f"output `{name}` is off by {error:.2e}, {max_error:g} is allowed")
            elif not np.isfinite(error):
                found.append(f"output `{name}` has values that are no numbers")
        return found


def check_engine(
    card: ModelCard, precision: str, folder: Path, count: int, progress: Progress
) -> CheckReport:
    """Run the engine of a model in `precision` and the FP32 network on up to `count` images of a folder.

    Raises StaleEngineError for an engine that must not run here, EngineError if there is none, and
    ConfigurationError if the folder holds no image, and ModelError if the card is not the network's.
    """
    from avperception.engines.precision.judge import run_network
    from avperception.engines.precision.metric import task_metric
    from avperception.engines.precision.network_file import load_network
    from avperception.engines.precision.samples import InputMaker

    network = locate(card)
    candidate = _candidate(card, network, precision)
    model = load_network(network)
    make_input = InputMaker(card, model, network, _usual_shape(card, candidate.manifest))
    metric = task_metric(card, make_input.size)
    images = CalibrationSet.load(folder)
    total = min(count, len(images))
    inputs = [make_input(image) for image in islice(images.images(), count)]
    expected, found = [], []
    pairs = zip(
        run_network(model, make_input.name, inputs), candidate.run(make_input.name, inputs), strict=True
    )
    for done, (reference_outputs, outputs) in enumerate(pairs, start=1):
        if done == 1:
            _check_card(card, inputs[0], reference_outputs)
        metric.add_reference(reference_outputs)
        expected.append(dict(reference_outputs))
        found.append(outputs)
        progress(done, total)
    return CheckReport(
        engine=str(candidate.file.path),
        runtime=candidate.description,
        on_gpu=candidate.reason == "",
        reason=candidate.reason,
        images=len(inputs),
        output_errors={name: largest_error(expected, found, name) for name in expected[0]},
        metric=metric.name,
        drop=metric.drop(found) if metric.measurable else None,
        skipped=images.skipped_text,
    )


def _check_card(card: ModelCard, array: NDArray[Any], outputs: Mapping[str, NDArray[Any]]) -> None:
    """Raise ModelError if the card, which may have been edited since the build, is of another network."""
    arrays = {card.input.tensor: array, **outputs}
    specs = {name: TensorSpec(name, found[:1].shape, found.dtype) for name, found in arrays.items()}
    check_tensors(card, {card.input.tensor: specs.pop(card.input.tensor)}, specs)


@dataclass(frozen=True)
class _Candidate:
    """What is compared: its manifest, how it is called, why it is not the engine itself, how it runs."""

    file: EngineFile
    manifest: EngineManifest
    description: str
    reason: str
    run: Callable[[str, Sequence[NDArray[Any]]], Iterator[Outputs]]


def _candidate(card: ModelCard, network: Path, precision: str) -> _Candidate:
    machine = current_machine()
    if machine.gpu is None:
        return _on_host(card, network, precision, machine)
    from avperception.engines.tensorrt import TensorrtEngine

    file = find_engine(network, precision, card=card)
    engine = TensorrtEngine(file.path)
    context = engine.create_context()

    def run(name: str, inputs: Sequence[NDArray[Any]]) -> Iterator[Outputs]:
        for array in inputs:
            context.inputs[name].set(array)
            context.execute()
            yield {output: context.outputs[output].get() for output in context.outputs}

    return _Candidate(file, read_manifest(file.manifest_path), engine.description, "", run)


def _on_host(card: ModelCard, network: Path, precision: str, machine: Machine) -> _Candidate:
    """The network that the newest engine of this very model was built of, on ONNX Runtime."""
    from avperception.engines.precision.judge import run_network
    from avperception.engines.precision.network_file import load_network

    file = _whole_engine(card, network, precision, machine)
    manifest = read_manifest(file.manifest_path)
    prepared = _prepared(file, network, manifest)
    if not prepared.is_file() or sha256_of_file(prepared) != manifest.prepared_onnx.sha256:
        command = rebuild_command(file, manifest, machine)
        raise EngineError(f"{prepared} is not the network that {file.path} was built of: run `{command}`")
    model = load_network(prepared)

    def run(name: str, inputs: Sequence[NDArray[Any]]) -> Iterator[Outputs]:
        return (dict(outputs) for outputs in run_network(model, name, inputs))

    reason = machine.gpu_problem or "there is no GPU"
    return _Candidate(file, manifest, f"{prepared.name} on ONNX Runtime, CPU", reason, run)


_OF_ANY_MACHINE = ("file", "manifest", "network", "precision")


def _whole_engine(card: ModelCard, network: Path, precision: str, machine: Machine) -> EngineFile:
    """The newest engine that is whole and of this very network, whatever machine it is for."""
    refusal: StaleEngineError | None = None
    for file in engines_of(network, precision):
        try:
            verify(file, machine, network, precision, reference(card))
        except StaleEngineError as error:
            if any(difference.what.split()[0] in _OF_ANY_MACHINE for difference in error.differences):
                refusal = refusal or error
                continue
        return file
    if refusal:
        raise refusal
    command = f"`avperception engine build {reference(card)} --precision {precision}`"
    raise EngineError(f"there is no {precision} engine of {network}: run {command} with a --target")


def _prepared(file: EngineFile, network: Path, manifest: EngineManifest) -> Path:
    return network if manifest.prepared_onnx.sha256 == manifest.onnx.sha256 else file.prepared_path


def _usual_shape(card: ModelCard, manifest: EngineManifest) -> tuple[int, ...] | None:
    """The shape that an engine with open axes is run at."""
    profiles = [t.profile for t in manifest.inputs if t.name == card.input.tensor and t.profile]
    return profiles[0][1] if profiles else None


def largest_error(expected: Sequence[Outputs], found: Sequence[Outputs], name: str) -> float:
    """The largest absolute difference of an output over the largest absolute value expected of it."""
    difference = scale = 0.0
    for wanted, got in zip(expected, found, strict=True):
        wide = wanted[name].astype(np.float64)
        gap = np.abs(got[name].astype(np.float64) - wide)
        difference = max(difference, float("inf") if np.isnan(gap).any() else float(gap.max()))
        scale = max(scale, float(np.abs(wide).max()))
    return difference / max(scale, 1e-30)
