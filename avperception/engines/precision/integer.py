"""A network on its way to INT8: what may be quantised, with which ranges, and what is left out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto

from avperception.engines.precision.half import convert_to_fp16
from avperception.engines.precision.judge import Judge, Verdict
from avperception.engines.precision.quantize import (
    matching_nodes,
    quantizable_nodes,
    quantize,
    without_qdq,
)
from avperception.engines.precision.ranges import activation_ranges
from avperception.engines.precision.request import Calibrator, LayerException, NoMixError, SensitivityRow
from avperception.engines.precision.sensitivity import Mix, SensitivitySearch
from avperception.errors import ConfigurationError, EngineError

TIGHTENINGS = 6
TIGHTER = 0.8
STEP = 0.99
"""How often, and by what factor at least, the search's limit is lowered when its mix does not hold what was
asked for, on held-out images or once it is written with FP16 in it; and to which part of that mix's drop."""


@dataclass(frozen=True)
class IntegerResult:
    """The written network, what it costs, and what was left out of INT8."""

    model: ModelProto
    search: Verdict
    held_out: Verdict | None
    quantized_nodes: int
    exceptions: tuple[LayerException, ...]
    rows: tuple[SensitivityRow, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class IntegerNetwork:
    """The FP32 network, the nodes INT8 may be used for, and the ranges of their inputs.

    Raises ConfigurationError for a pattern that is none or matches nothing, EngineError if there is no
    node to quantise at all.
    """

    model: ModelProto
    islands: tuple[LayerException, ...]
    keep_fp16: Sequence[str]
    kept: dict[str, str] = field(init=False)
    nodes: tuple[str, ...] = field(init=False)
    _ranges: Any = None
    _quantized: ModelProto | None = None

    def __post_init__(self) -> None:
        candidates = quantizable_nodes(self.model)
        if not candidates:
            raise EngineError(
                "the network has no convolution or matrix product with constant weights: "
                "int8 has nothing to work on, ask for fp16"
            )
        self.kept = matching_nodes(candidates, self.keep_fp16)
        out = {*self.kept, *self.island_names}
        self.nodes = tuple(node.name for node in candidates if node.name not in out)

    @property
    def island_names(self) -> tuple[str, ...]:
        """Names of the nodes that stay FP32."""
        return tuple(island.name for island in self.islands)

    def calibrate(
        self,
        calibrator: Calibrator,
        input_name: str,
        arrays: Callable[[], Iterable[NDArray[Any]]],
        step: Callable[[int], None],
    ) -> None:
        """Find the ranges of what the quantised nodes read; once, whatever is left out later."""
        chosen = set(self.nodes)
        tensors = [node.input[0] for node in quantizable_nodes(self.model) if node.name in chosen]
        if tensors:
            self._ranges = activation_ranges(self.model, calibrator, tensors, input_name, arrays(), step)

    def with_qdq(self, excluded: Collection[str]) -> ModelProto:
        """The network with Q/DQ pairs, the rest in FP32."""
        always = {*self.kept, *self.island_names}
        if self._quantized is None:
            self._quantized = quantize(self.model, self._ranges, always)
        return without_qdq(self._quantized, self.model, {*excluded, *always})

    def written(self, excluded: Collection[str]) -> ModelProto:
        """The network as it is written: Q/DQ pairs, islands in FP32, the rest in FP16."""
        return convert_to_fp16(self.with_qdq(excluded), self.island_names)


def prepare_int8(
    network: IntegerNetwork,
    max_drop: float | None,
    search: Judge,
    held_out: Judge | None,
    progress: Callable[[str, int, int], None],
) -> IntegerResult:
    """Quantise everything, or with `max_drop` as much as holds it, and measure the result.

    Raises NoMixError if no mix holds the limit, ConfigurationError if nothing can be measured on the images.
    """
    if max_drop is None:
        return _result(network, None, search, None, ())
    if not search.measurable:
        raise ConfigurationError(
            "max_drop cannot be held: the FP32 network finds nothing on the calibration images to measure "
            "the drop with: collect images with something to see"
        )
    return _searched(network, max_drop, search, held_out, progress)


def _searched(
    network: IntegerNetwork,
    max_drop: float,
    search: Judge,
    held_out: Judge | None,
    progress: Callable[[str, int, int], None],
) -> IntegerResult:
    """Search on one half until the mix holds the limit on the other half too, each time with less allowed.

    There the bound counts and not the drop: the first mix that holds by chance would be taken otherwise.
    """
    # The written network has FP16 where the trials have FP32: what FP16 alone costs is known and set aside.
    sensitivity = SensitivitySearch(
        network.nodes,
        lambda excluded: search(network.with_qdq(excluded)),
        lambda done, total: progress("searching the mix", done, total),
    )
    half_drop = search(network.written(network.nodes)).drop or 0.0
    notes: list[str] = []
    limit = max_drop - half_drop
    result: IntegerResult | None = None
    for _ in range(TIGHTENINGS + 1):
        mix = sensitivity.run(limit) if limit > 0 else None
        if mix is None:
            break
        result = _result(network, mix, search, held_out, tuple(notes))
        if _holds(result.search, max_drop) and _holds(result.held_out, max_drop):
            return result
        where = "held-out images" if _holds(result.search, max_drop) else "images once in FP16"
        # Just below what it has: a limit between would find the same mix again.
        limit = min(TIGHTER * limit, STEP * mix.drop)
        notes.append(f"the mix for {mix.drop:.2%} did not hold {max_drop:.2%} on {where}: search with less")
    raise NoMixError(
        f"no mix of INT8 and FP16 holds max_drop {max_drop:.2%} on these images (FP16 alone loses "
        f"{half_drop:.2%}{_last(result, held_out)}): allow more, collect more images, or build with fp16",
        result.rows if result else (),
    )


def _holds(verdict: Verdict | None, max_drop: float) -> bool:
    if verdict is None or verdict.drop is None:
        return True
    return (verdict.drop if verdict.bound is None else verdict.bound) <= max_drop


def _last(result: IntegerResult | None, held_out: Judge | None) -> str:
    """What the last mix loses on images it was not chosen with."""
    found = result.held_out if result else None
    if found is None or held_out is None or found.drop is None or found.bound is None:
        return ""
    return (
        f"; the last mix {found.drop:.2%} on {held_out.images} images held out, which on others may be "
        f"{found.bound:.2%}"
    )


def _result(
    network: IntegerNetwork,
    mix: Mix | None,
    search: Judge,
    held_out: Judge | None,
    notes: tuple[str, ...],
) -> IntegerResult:
    excluded = mix.excluded if mix else frozenset[str]()
    model = network.written(excluded)
    by_pattern = [
        LayerException(name, "fp16", f"matches keep_fp16 {pattern!r}")
        for name, pattern in network.kept.items()
    ]
    by_search = [
        LayerException(name, "fp16", "left out of int8 by the sensitivity search")
        for name in network.nodes
        if name in excluded
    ]
    return IntegerResult(
        model,
        search(model),
        held_out(model) if held_out else None,
        len(network.nodes) - len(excluded),
        (*by_pattern, *by_search),
        mix.rows if mix else (),
        notes,
    )
