"""Every error a user can meet; each message says what is wrong, where, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence


class AvperceptionError(Exception):
    """Base of all errors raised on purpose; the command line shows its text as one line."""


class ConfigurationError(AvperceptionError):
    """A parameter, an argument or a configuration file holds a value that cannot be used."""


def require_one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a value that is none of those allowed; raises ConfigurationError."""
    if value not in allowed:
        raise ConfigurationError(f"{name} is {value!r}: it must be one of {', '.join(allowed)}")


class ModelError(AvperceptionError):
    """A model card or the network file behind it is missing, altered or of an unknown form."""


class EngineError(AvperceptionError):
    """An inference engine cannot be made or executed."""


class GpuLostError(EngineError):
    """A fault on the GPU after which this process can use it no more: only a new process helps."""


class BagError(AvperceptionError):
    """A recording cannot be read, is cut off, or cannot be written."""


class TransformError(AvperceptionError):
    """The transform between two frames is not known at the wanted time."""


class MessageError(AvperceptionError):
    """One sensor message cannot be used; it is dropped and counted under `reason`.

    `reason` is a short snake_case key (for counters and `/diagnostics`), the text the explanation.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
