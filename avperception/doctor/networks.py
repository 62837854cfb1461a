"""The networks and their engines: are they here, unaltered, and fit for this machine?"""

from __future__ import annotations

from collections.abc import Iterator

from avperception.doctor.finding import Finding, note, ok, wrong
from avperception.doctor.gpu import INSTALL_TENSORRT
from avperception.engines.engine_file import StaleEngineError, verify
from avperception.engines.loading import built_engines, network_of
from avperception.engines.machine import Machine
from avperception.errors import ModelError
from avperception.models.library import (
    NetworkState,
    card_paths,
    load_named,
    network_path,
    network_state,
    reference,
)


def examine_models() -> Iterator[Finding]:
    """Is each network here and the one that its card names?"""
    for name, path in card_paths().items():
        what = f"model {name}"
        try:
            card = load_named(path)
            state = network_state(card)
        except ModelError as error:
            yield wrong(what, str(error), f"$EDITOR {path}")
            continue
        pull = f"avperception models pull {reference(card)}" + ("" if card.source_url else " --from FILE")
        if state is NetworkState.READY:
            yield ok(what, str(network_path(card)))
        elif state is NetworkState.ALTERED:
            yield wrong(what, f"{network_path(card)} is not the network that the card names", pull)
        else:
            yield note(what, "not pulled", pull)


def examine_engines(machine: Machine) -> Iterator[Finding]:
    """Can each built engine be run here?"""
    for file in built_engines():
        what = f"engine {file.path.name}"
        try:
            verify(file, machine, network_of(file))
        except StaleEngineError as error:
            reasons = "; ".join(map(str, error.differences))
            if error.only_lacks_gpu:
                yield note(what, f"for another machine: {reasons}")
            else:
                # Without TensorRT a build is as impossible as a run.
                mend = error.command if machine.flavour else INSTALL_TENSORRT
                yield wrong(what, reasons, mend)
        else:
            yield ok(what, str(file.path))
