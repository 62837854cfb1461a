"""What can be chosen about a build, read from the command line and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from avperception.errors import ConfigurationError

Precision = Literal["fp32", "fp16", "int8"]

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")

CURRENT = ("current",)
"""The target that means the GPU of this machine."""

MAX_OPTIMIZATION_LEVEL = 5


@dataclass(frozen=True)
class Profile:
    """The smallest, the usual and the largest shape of an input with an open axis."""

    minimum: tuple[int, ...]
    optimum: tuple[int, ...]
    maximum: tuple[int, ...]


@dataclass(frozen=True)
class CompilerOptions:
    """Options of TensorRT's builder.

    `targets` are compute capabilities such as `8.6`, or CURRENT; `workspace_mib` limits the memory that
    kernels may use to compute; `optimization_level` goes from 0 (fast build) to 5 (fast engine);
    `dla_core` puts what it can on that deep-learning accelerator; `sparse` uses 2:4 sparse weights; `tf32`
    lets FP32 products cut their factors to 10 bits, which is several times faster.
    """

    targets: tuple[str, ...] = CURRENT
    workspace_mib: int = 1024
    optimization_level: int = 3
    dla_core: int | None = None
    sparse: bool = False
    tf32: bool = False
    profiles: Mapping[str, Profile] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.workspace_mib < 1:
            raise ConfigurationError(f"--workspace is {self.workspace_mib}: it must be 1 MiB or more")
        if not 0 <= self.optimization_level <= MAX_OPTIMIZATION_LEVEL:
            raise ConfigurationError(
                f"--optimization-level is {self.optimization_level}: it must be 0 to {MAX_OPTIMIZATION_LEVEL}"
            )
        if self.dla_core is not None and self.dla_core < 0:
            raise ConfigurationError(f"--dla is {self.dla_core}: it must be the number of a core, from 0 on")


def parse_targets(text: str) -> tuple[str, ...]:
    """Read `current` or a list such as `sm86,sm89` (`8.6,8.9` too) into compute capabilities, in order.

    Raises ConfigurationError.
    """
    words = [word.strip().lower() for word in text.split(",")]
    if words == list(CURRENT):
        return CURRENT
    targets = []
    for word in words:
        match = re.fullmatch(r"sm_?(\d{1,2})(\d)|(\d{1,2})\.(\d)", word)
        if not match:
            raise ConfigurationError(
                f"--target is {text!r}: it must be `current` or compute capabilities such as sm86,sm89"
            )
        major, minor = (match[1] or match[3]), (match[2] or match[4])
        targets.append(f"{major}.{minor}")
    return tuple(sorted(set(targets), key=lambda target: tuple(map(int, target.split(".")))))


def target_text(targets: tuple[str, ...], separator: str = ",") -> str:
    """Compute capabilities as they are typed: `sm86,sm89`."""
    return separator.join(
        target if target in CURRENT else f"sm{target.replace('.', '')}" for target in targets
    )


def parse_profiles(texts: list[str]) -> dict[str, Profile]:
    """Read `INPUT=MIN,OPT,MAX` with shapes such as 1x3x416x416; raises ConfigurationError."""
    profiles = {}
    for text in texts:
        name, _, shapes = text.rpartition("=")
        parts = [_shape(shape) for shape in shapes.split(",")]
        if not name or len(parts) != 3 or not all(parts):
            raise ConfigurationError(
                f"--shape is {text!r}: it must be INPUT=MIN,OPT,MAX, such as "
                "`images=1x3x416x416,1x3x416x416,4x3x416x416`"
            )
        minimum, optimum, maximum = parts
        ordered = len(minimum) == len(optimum) == len(maximum) and all(
            low <= usual <= high for low, usual, high in zip(minimum, optimum, maximum, strict=True)
        )
        if not ordered:
            raise ConfigurationError(f"--shape is {text!r}: MIN, OPT and MAX must not fall, on any axis")
        profiles[name] = Profile(minimum, optimum, maximum)
    return profiles


def _shape(text: str) -> tuple[int, ...]:
    """The sizes of `1x3x416x416`, nothing if it is no shape."""
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", text.strip()):
        return ()
    return tuple(int(size) for size in text.strip().split("x"))
