"""What is asked of a network's precision, and what was done about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from avperception.calibration.set import CalibrationSet
from avperception.engines.options import Precision
from avperception.errors import ConfigurationError
from avperception.models.card import ModelCard

Calibrator = Literal["max", "entropy", "percentile"]

CALIBRATORS: tuple[Calibrator, ...] = ("max", "entropy", "percentile")


@dataclass(frozen=True)
class PrecisionRequest:
    """The precision a network shall be given.

    `calibrator` is how an activation's range is found for int8: its largest value (`max`), the range
    whose histogram loses least by quantisation (`entropy`, Kullback-Leibler), or the 99.999th
    `percentile`. `calibration` holds the images: int8 needs it; fp16 uses it, where it is given, to see
    which values overflow, and noise else. Nodes whose name one of the regular expressions `keep_fp16`
    matches from its start are left out of int8. `max_drop` is the largest loss of the task's metric that is
    allowed, as a share (0.01 is 1 %): with it, nodes are left out of int8 until it is held. Without
    `rewrite` fp16 keeps the form of the network, which tensor cores may be slow at. With `tf32` FP32 is to be
    computed with FP16's digits, and nothing is kept in it for its own. A network with open
    axes is run at `input_shape`, keeps them, and keeps its form.
    """

    precision: Precision
    calibrator: Calibrator
    calibration: CalibrationSet | None
    keep_fp16: tuple[str, ...]
    max_drop: float | None
    card: ModelCard
    rewrite: bool = True
    tf32: bool = False
    input_shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class LayerException:
    """One node that is not in the precision asked for: it is in `precision`, for `reason`."""

    name: str
    precision: str
    reason: str


@dataclass(frozen=True)
class SensitivityRow:
    """What one group of nodes costs: `drop` of the metric, as a share, when it alone is in int8."""

    nodes: tuple[str, ...]
    drop: float
    kept_out: bool


class NoMixError(ConfigurationError):
    """No mix of INT8 and FP16 holds the limit; `table` is what the search measured, empty if nothing."""

    def __init__(self, message: str, table: tuple[SensitivityRow, ...]) -> None:
        super().__init__(message)
        self.table = table


@dataclass(frozen=True)
class MetricResult:
    """The task's metric of the network as written, against the FP32 network's own results.

    `metric` says which (`AP50`, `mIoU`); `search` and `held_out` are its drops as shares, the first on
    the images a choice of nodes was made with, the second on images that had no part in it, None
    where there were none.
    """

    metric: str
    search: float
    held_out: float | None
    search_images: int
    held_out_images: int
    held_out_bound: float | None = None


@dataclass(frozen=True)
class PrecisionReport:
    """What precision a written network has, and why.

    `output_error` maps each output to the largest absolute difference from FP32 over its largest
    absolute value there. `exact_fp32` if nodes are in FP32 for its digits, which TF32 has not.
    `calibration_hash` and `coverage` are those of the calibration set, `table` is
    the sensitivity search, `seconds` the time all of it took.
    """

    precision: Precision
    exceptions: tuple[LayerException, ...] = ()
    exact_fp32: bool = False
    calibrator: Calibrator | None = None
    calibration_hash: str | None = None
    coverage: dict[str, Any] | None = None
    images_used: int = 0
    images_skipped: int = 0
    quantized_nodes: int = 0
    table: tuple[SensitivityRow, ...] = ()
    metric: MetricResult | None = None
    output_error: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON."""
        return asdict(self)
