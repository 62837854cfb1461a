"""Which runtime runs a network here, and which of its built engines: never a stale one."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from avperception.engines.adapter import FLAVOURS, Flavour, probe
from avperception.engines.engine import Engine
from avperception.engines.engine_file import (
    EngineFile,
    StaleEngineError,
    engine_folders,
    engines_in,
    engines_of,
    model_of,
    verify,
)
from avperception.engines.files import engine_directory
from avperception.engines.machine import current_machine
from avperception.engines.manifest import EngineManifest, read_manifest
from avperception.engines.onnxruntime import OnnxRuntimeEngine
from avperception.errors import AvperceptionError, EngineError, require_one_of
from avperception.models.card import ModelCard
from avperception.models.library import find_card, network_path, reference

BACKENDS = ("auto", "tensorrt", "onnxruntime")
"""What the parameter `backend` may be."""

ENGINE_POLICIES = ("strict", "rebuild")
"""What the parameter `engine_policy` may be: what is done where an engine does not fit this machine."""

_logger = logging.getLogger(__name__)


def load_engine(
    path: Path,
    backend: str = "auto",
    threads: int = 0,
    *,
    precision: str = "fp16",
    engine_policy: str = "strict",
    card: ModelCard | None = None,
) -> Engine:
    """Make an engine of an ONNX file with the runtime `backend`.

    `auto` takes TensorRT where it, CuPy, a GPU and a built engine are there, else ONNX Runtime, which
    computes on the CPU in `threads`, 0 for one a core. With TensorRT the engine built of this very
    network in this `precision` is taken. Where it does not fit this machine, or is not there, the
    `engine_policy` says what to do: `strict` refuses, `rebuild` builds it, which takes minutes and is
    logged as a warning; a `card` says then which model it is.

    Raises EngineError, StaleEngineError with all that does not fit, and ConfigurationError for a
    backend or policy of another name.
    """
    require_one_of("backend", backend, BACKENDS)
    require_one_of("engine_policy", engine_policy, ENGINE_POLICIES)
    if backend == "onnxruntime" or (
        backend == "auto" and not _runs_on_tensorrt(path, precision, engine_policy)
    ):
        return OnnxRuntimeEngine(path, threads)
    from avperception.engines.tensorrt import TensorrtEngine

    return TensorrtEngine(find_engine(path, precision, engine_policy, card).path)


def find_engine(
    network: Path, precision: str = "fp16", engine_policy: str = "strict", card: ModelCard | None = None
) -> EngineFile:
    """Give the engine of an ONNX file that fits this machine; built anew only if the policy is `rebuild`.

    Raises EngineError, and StaleEngineError for the engine that fits least badly.
    """
    refusals: list[StaleEngineError] = []
    files = engines_of(network, precision)
    for file in files:
        try:
            verify(file, current_machine(), network, precision, reference(card) if card else None)
            return file
        except StaleEngineError as error:
            refusals.append(error)
    # Of several engines that do not fit, the one with the fewest differences tells most.
    nearest = min(refusals, key=lambda refusal: len(refusal.differences), default=None)
    if engine_policy == "rebuild":
        return _rebuild(network, precision, files, nearest, card)
    if nearest:
        raise nearest
    model = reference(card) if card else model_of(network.stem)
    raise EngineError(
        f"there is no {precision} engine of {network}: build it with "
        f"`avperception engine build {model} --precision {precision}`, or set backend to onnxruntime"
    )


def built_engines(cards: Iterable[ModelCard] = ()) -> list[EngineFile]:
    """All engines of the models that go by name, of these `cards`, and of the current folder, each once.

    An engine of a card of one's own lies beside its network: there is no list of such folders.
    """
    networks = [path for card in cards if (path := network_path(card))]
    folders = [*engine_folders(), *map(engine_directory, networks), Path.cwd()]
    return [file for folder in dict.fromkeys(map(Path.resolve, folders)) for file in engines_in(folder)]


def network_of(file: EngineFile) -> Path | None:
    """The ONNX file that an engine is of, by the card in its manifest, else by the engine's name.

    None where there is no such card or network, or the card's network is called otherwise by now.
    """
    parts = file.name_parts
    if parts is None:
        return None
    for name in (_model_in_manifest(file), model_of(parts[0])):
        with suppress(AvperceptionError):
            network = network_path(find_card(name))
            if network is not None and network.stem == parts[0]:
                return network
    beside = file.path.with_name(f"{parts[0]}.onnx")
    return beside if beside.is_file() else None


def _model_in_manifest(file: EngineFile) -> str:
    try:
        return read_manifest(file.manifest_path).request.model
    except EngineError:
        return ""


def _rebuild(
    network: Path,
    precision: str,
    files: list[EngineFile],
    refusal: StaleEngineError | None,
    card: ModelCard | None,
) -> EngineFile:
    """Build the engine for this machine as the old one was asked for, or with the default options."""
    from avperception.engines.builder import BuildRequest, build_engine

    reason = str(refusal) if refusal else f"there is no {precision} engine of {network}"
    earlier = _earlier_manifest(files, precision, network, card)
    request = BuildRequest.again(earlier, current_machine()) if earlier else None
    if request is None and card is not None:
        if precision == "int8":
            if refusal:  # an engine that is there is refused as such, with the command that builds it anew
                raise refusal
            raise EngineError(f"{reason}: int8 needs a calibration set, so it is not built at start")
        request = BuildRequest(card, precision)  # type: ignore[arg-type]
    if request is None:
        raise refusal or EngineError(reason)
    _logger.warning("engine_policy is rebuild, building now, this takes minutes: %s", reason)
    result = build_engine(request, lambda stage, part: _logger.debug("%s: %.0f %%", stage, 100 * part))
    _logger.warning("built %s in %.0f s", result.file.path, result.manifest.build.seconds)
    if earlier and _calibration(earlier) != _calibration(result.manifest):
        _logger.warning("its calibration set %s is not what it was before", request.calibration_set)
    return result.file


def _earlier_manifest(
    files: list[EngineFile], precision: str, network: Path, card: ModelCard | None
) -> EngineManifest | None:
    """The newest manifest in this precision; in a common folder another model's may go by the same name."""
    for file in files:
        with suppress(AvperceptionError):
            manifest = read_manifest(file.manifest_path)
            if manifest.precision["precision"] == precision and _is_of(manifest, network, card):
                return manifest
    return None


def _is_of(manifest: EngineManifest, network: Path, card: ModelCard | None) -> bool:
    """Whether an engine was built by this card, or if none is given, of a card with this network."""
    found = find_card(manifest.request.model)
    if card is not None:
        return found.path.resolve() == card.path.resolve()
    path = network_path(found)
    return path is not None and path.resolve() == network.resolve()


def _calibration(manifest: EngineManifest) -> object:
    """The hash of the images that an engine was calibrated with."""
    return manifest.precision.get("calibration_hash")


def _runs_on_tensorrt(path: Path, precision: str, engine_policy: str) -> bool:
    """Whether TensorRT, CuPy and a GPU are here, and an engine in this precision is, or may be built."""
    if current_machine().gpu is None or find_spec("cupy") is None:
        return False
    if not any(isinstance(probe(name), Flavour) for name in FLAVOURS):
        return False
    return engine_policy == "rebuild" or bool(engines_of(path, precision))
