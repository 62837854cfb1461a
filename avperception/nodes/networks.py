"""The networks that the parameters name."""

from __future__ import annotations

from avperception.nodes.parameters import NodeParameters
from avperception.pipeline.loading import TASKS, Networks, Placing, Wanted, load_networks


def networks_of(parameters: NodeParameters) -> Networks:
    """Load the networks of all roles where the parameter `backend` says.

    Raises ModelError, EngineError or ConfigurationError.
    """
    wanted = {
        role: Wanted(str(parameters[f"{role}.model"]), str(parameters[f"{role}.precision"])) for role in TASKS
    }
    placing = Placing(
        backend=str(parameters["backend"]),
        engine_policy=str(parameters["engine_policy"]),
        threads=int(parameters["threads"]),
        cameras=len(parameters.cameras),
    )
    return load_networks(wanted, placing)
