"""Which sensors a launch connects the nodes to: those of a configuration file, or of a recording."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from avperception.bags import BagReader
from avperception.errors import ConfigurationError
from avperception.replay.plan import plan_replay

PERCEPTION = "perception"
SECTION = "launch"
ANY_NODE = "/**"


@dataclass(frozen=True)
class Sensors:
    """`topics` maps the nodes' inputs, without `~/input/`, to the sensors' topics.

    `parameters` names the cameras, and whatever else of the nodes' parameters depends on the sensors.
    """

    topics: dict[str, str]
    parameters: dict[str, Any]


def configured_sensors(config_file: Path) -> Sensors:
    """Read the sensors of a parameter file: `topics` of its section `launch`, `cameras` of the node's.

    Raises ConfigurationError when it cannot be read, or names an input that the cameras do not have.
    """
    content = _read(config_file)
    parameters = {
        **_parameters(content, ANY_NODE, config_file),
        **_parameters(content, PERCEPTION, config_file),
    }
    cameras = [str(name) for name in parameters.get("cameras") or ["front"]]
    topics = _parameters(content, SECTION, config_file).get("topics") or {}
    if not isinstance(topics, Mapping):
        raise ConfigurationError(f"{config_file}: {SECTION}.topics must map inputs to topics")
    known = {"points"}
    for camera in cameras:
        known |= {f"{camera}/{name}" for name in ("image_raw", "image_raw/compressed", "camera_info")}
    for name in topics:
        if name not in known:
            raise ConfigurationError(
                f"{config_file}: {SECTION}.topics has {name!r}, inputs are {', '.join(sorted(known))}"
            )
    return Sensors({str(name): str(topic) for name, topic in topics.items()}, {"cameras": cameras})


def recorded_sensors(bag: Path, points: str | None = None) -> Sensors:
    """Find the sensors of a recording, as `avperception replay` does; raises BagError."""
    with BagReader(bag) as reader:
        plan = plan_replay(reader.topics, points)
    topics: dict[str, str] = {"points": plan.points} if plan.points else {}
    parameters: dict[str, Any] = {"cameras": [camera.name for camera in plan.cameras] or [""]}
    for camera in plan.cameras:
        topics[f"{camera.name}/image_raw" + ("/compressed" if camera.compressed else "")] = camera.image
        if camera.info:
            topics[f"{camera.name}/camera_info"] = camera.info
        parameters[f"{camera.name}.transport"] = "compressed" if camera.compressed else "raw"
    return Sensors(topics, parameters)


def remappings(sensors: Sensors) -> list[tuple[str, str]]:
    """Connect the inputs of the perception node, which are the visualizer's too, to the sensors."""
    return [(f"{PERCEPTION}/input/{name}", topic) for name, topic in sensors.topics.items()]


def _read(config_file: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(config_file.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read config_file {config_file}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{config_file} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        raise ConfigurationError(
            f"{config_file} holds no parameters: see config/perception.yaml for the form"
        )
    return content


def _parameters(content: Mapping[str, Any], node: str, config_file: Path) -> Mapping[str, Any]:
    found = content.get(node) or content.get(f"/{node}") or {}
    parameters = found.get("ros__parameters", {}) if isinstance(found, Mapping) else None
    if not isinstance(parameters, Mapping):
        raise ConfigurationError(f"{config_file}: `{node}` must hold `ros__parameters` with names and values")
    return parameters
