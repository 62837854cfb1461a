"""The networks that are wanted, and the device that they run on, chosen once for all cameras."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from avperception.engines import BACKENDS, ENGINE_POLICIES, Engine, find_engine, load_engine
from avperception.engines.adapter import HOW_TO_INSTALL
from avperception.engines.engine_file import EngineFile, StaleEngineError
from avperception.engines.machine import current_machine
from avperception.engines.manifest import read_manifest
from avperception.engines.options import PRECISIONS
from avperception.errors import AvperceptionError, ConfigurationError, EngineError, require_one_of
from avperception.models import check_network, find_card, locate
from avperception.models.card import ModelCard
from avperception.pipeline.device import CpuDevice, Device
from avperception.pipeline.network import Network

_ADVICE = re.compile(r"[,:;] (or )?set backend to onnxruntime$")
"""What an error ends with that is no advice any more where `backend: auto` has done it."""

TASKS = {"detector": "detection", "segmenter": "segmentation"}
"""The roles that a network can have, and what it must do in each."""


@dataclass(frozen=True)
class Wanted:
    """A model card by name or path, '' for none, and the precision of its engine on a GPU."""

    model: str
    precision: str = "fp16"


@dataclass(frozen=True)
class Placing:
    """Where networks are to run: `backend` and `engine_policy` as `load_engine` has them.

    `threads` of the host's runtime, 0 for one a core; so many `cameras` will use the networks.
    """

    backend: str = "auto"
    engine_policy: str = "strict"
    threads: int = 0
    cameras: int = 1


@dataclass(frozen=True)
class Networks:
    """The networks by their role, None for one that is switched off, and where they run.

    `why_cpu` says what kept `backend: auto` from the GPU; None where it was not tried.
    """

    by_role: Mapping[str, Network | None]
    device: Device
    why_cpu: str | None = None

    @property
    def detector(self) -> Network | None:
        return self.by_role["detector"]

    @property
    def segmenter(self) -> Network | None:
        return self.by_role["segmenter"]


def load_networks(wanted: Mapping[str, Wanted], placing: Placing) -> Networks:
    """Load the networks of all roles.

    `auto` takes the GPU if everything it needs is there for every network, else the host's CPU. An engine
    that is there but stale is no reason to fall back: it raises StaleEngineError then too.
    Raises ModelError, EngineError or ConfigurationError.
    """
    _check_names(wanted, placing)
    cards = {role: _card(role, wanted[role].model) for role in TASKS}
    if placing.backend == "onnxruntime":
        return Networks(_on_cpu(cards, placing), CpuDevice())
    try:
        return _on_gpu(cards, wanted, placing)
    except StaleEngineError:
        raise
    except EngineError as error:
        if placing.backend == "tensorrt":
            raise
        return Networks(_on_cpu(cards, placing), CpuDevice(), why_cpu=_ADVICE.sub("", str(error)))


def _check_names(wanted: Mapping[str, Wanted], placing: Placing) -> None:
    require_one_of("backend", placing.backend, BACKENDS)
    require_one_of("engine_policy", placing.engine_policy, ENGINE_POLICIES)
    for role in TASKS:
        require_one_of(f"{role}.precision", wanted[role].precision, PRECISIONS)


def _card(role: str, name: str) -> ModelCard | None:
    if not name:
        return None
    card = find_card(name)
    if card.task != TASKS[role]:
        raise ConfigurationError(
            f"{role}.model is {name!r}, a network for {card.task}: choose one for {TASKS[role]}, "
            "`avperception models list` shows them"
        )
    return card


def _on_cpu(cards: Mapping[str, ModelCard | None], placing: Placing) -> dict[str, Network | None]:
    networks: dict[str, Network | None] = {}
    for role, card in cards.items():
        networks[role] = None
        if card:
            engine = load_engine(locate(card), backend="onnxruntime", threads=placing.threads)
            networks[role] = _checked(card, engine)
    return networks


def _on_gpu(
    cards: Mapping[str, ModelCard | None], wanted: Mapping[str, Wanted], placing: Placing
) -> Networks:
    machine = current_machine()
    if machine.gpu is None:
        raise EngineError(f"there is no GPU to use ({machine.gpu_problem}): set backend to onnxruntime")
    # Only a machine that could run an engine asks whether it is stale.
    if machine.flavour is None:
        raise EngineError(f"TensorRT is not there: {HOW_TO_INSTALL}, or set backend to onnxruntime")
    if find_spec("cupy") is None:
        raise EngineError(
            "CuPy, which a GPU needs, is not installed: `avperception doctor` says which, "
            "or set backend to onnxruntime"
        )
    files = _find_engines(cards, wanted, placing.engine_policy)
    from avperception.pipeline.device.cuda import CudaDevice

    device = CudaDevice()
    networks: dict[str, Network | None] = {}
    for role, card in cards.items():
        networks[role] = _tensorrt(card, files[role]) if card else None
    _check_memory(device, [network for network in networks.values() if network], placing.cameras)
    return Networks(networks, device)


def _find_engines(
    cards: Mapping[str, ModelCard | None], wanted: Mapping[str, Wanted], policy: str
) -> dict[str, EngineFile]:
    """The engines by role; one that is stale is said first, whatever else is missing."""
    files: dict[str, EngineFile] = {}
    missing: EngineError | None = None
    for role, card in cards.items():
        if card is None:
            continue
        try:
            files[role] = find_engine(locate(card), wanted[role].precision, policy, card)
        except StaleEngineError:
            raise
        except EngineError as error:
            missing = missing or error
    if missing:
        raise missing
    return files


def _tensorrt(card: ModelCard, file: EngineFile) -> Network:
    from avperception.engines.tensorrt import TensorrtEngine

    return _checked(card, TensorrtEngine(file.path), _coverage(file.manifest_path))


def _coverage(manifest: Path) -> Mapping[str, Any] | None:
    try:
        return read_manifest(manifest).coverage
    except AvperceptionError:  # an engine whose manifest is damaged is refused before
        return None


def _checked(card: ModelCard, engine: Engine, coverage: Mapping[str, Any] | None = None) -> Network:
    check_network(card, engine)
    return Network(card, engine, coverage)


def _check_memory(device: Any, networks: list[Network], cameras: int) -> None:
    """Refuse what will not fit, with the figure that is needed; images and results come on top."""
    contexts = cameras * device.frames_at_once
    needed = contexts * sum(_context_bytes(network.engine) for network in networks)
    free, total = device.memory()
    if needed > free:
        raise EngineError(
            f"{cameras} cameras need {needed >> 20} MiB of GPU memory for their networks, of {total >> 20} "
            f"MiB {free >> 20} are free: use fewer cameras or smaller networks, or end what else runs there"
        )


def _context_bytes(engine: Any) -> int:
    """What one execution context takes: room for the layers, inputs and outputs."""
    tensors = [*engine.inputs.values(), *engine.outputs.values()]
    return int(engine.scratch_bytes) + sum(int(np.prod(spec.shape)) * spec.dtype.itemsize for spec in tensors)
