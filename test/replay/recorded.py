"""Recordings to replay, and what came out of a replay."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from avperception.bags import BagMessage, BagReader, BagWriter
from avperception.replay.replay import ReplayOptions, replay

NO_NETWORKS = {"detector.model": "", "segmenter.model": ""}


def run_replay(
    bag: Path, out: Path, parameters: dict[str, Any] | None = None, **options: Any
) -> dict[str, Any]:
    """Replay in this process; gives the summary."""
    return replay(bag, out, ReplayOptions(parameters=parameters or {}, **options), lambda done, total: None)


def read_bag(path: Path, topics: set[str] | None = None) -> list[BagMessage]:
    with BagReader(path) as bag:
        return list(bag.messages(topics))


def write_bag(path: Path, messages: list[BagMessage]) -> Path:
    with BagWriter(path) as writer:
        for message in messages:
            writer.add_topic(message.topic, message.msgtype, latched=message.topic == "/tf_static")
            writer.write_cdr(message.topic, message.stamp_ns, message.cdr)
    return path


def change(
    path: Path, target: Path, choose: Callable[[BagMessage], bool], make: Callable[[Any], Any]
) -> Path:
    """Copy a recording with the chosen messages changed by `make`."""
    with BagReader(path) as bag, BagWriter(target) as writer:
        for message in bag.messages():
            writer.add_topic(message.topic, message.msgtype, latched=message.topic == "/tf_static")
            if choose(message):
                writer.write(message.topic, message.stamp_ns, make(bag.deserialize(message)))
            else:
                writer.write_cdr(message.topic, message.stamp_ns, message.cdr)
    return target


def contents(path: Path) -> list[tuple[str, int, Any]]:
    """Topic, log time and fields of every message, as plain values that can be compared.

    Serialized bytes have padding of no meaning, so they are not compared.
    """
    with BagReader(path) as bag:
        assert bag.damage is None
        return [(m.topic, m.stamp_ns, plain(bag.deserialize(m))) for m in bag.messages()]


def plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value


def metrics(out: Path) -> dict[str, Any]:
    return json.loads((out / "metrics.json").read_text())
