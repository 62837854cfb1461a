"""The networks that the parameters name, loaded once and shared by all cameras."""

from __future__ import annotations

from avperception.engines import load_engine
from avperception.errors import ConfigurationError
from avperception.models import check_network, find_card, locate
from avperception.nodes.parameters import NodeParameters
from avperception.pipeline.network import Network


def load_network(parameters: NodeParameters, role: str, task: str) -> Network | None:
    """Load the model of `role` (detector, segmenter), which must do `task`; None when it is ''.

    Raises ModelError, EngineError or ConfigurationError.
    """
    name = str(parameters[f"{role}.model"])
    if not name:
        return None
    card = find_card(name)
    if card.task != task:
        raise ConfigurationError(
            f"{role}.model is {name!r}, a network for {card.task}: choose one for {task}, "
            "`avperception models list` shows them"
        )
    if parameters["backend"] == "tensorrt":
        raise ConfigurationError(
            "backend is tensorrt, but the stages around the networks run on the CPU in this version: "
            "set backend to auto or onnxruntime"
        )
    engine = load_engine(locate(card), backend="onnxruntime", threads=int(parameters["threads"]))
    check_network(card, engine)
    return Network(card, engine)
