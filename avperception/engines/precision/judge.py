"""Runs converted networks on the host and compares them with the FP32 one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from avperception.engines.precision.metric import Outputs, TaskMetric
from avperception.engines.precision.network_file import one_line
from avperception.engines.precision.rounding import with_rounding
from avperception.errors import EngineError


@dataclass(frozen=True)
class Verdict:
    """`drop` of the task's metric as a share, and its bootstrap's `bound`; None if they cannot be measured.

    `error` maps each output to its largest absolute difference over the largest absolute FP32 value,
    `noise` is the mean over the outputs of the root mean square of the difference over that of FP32.
    """

    drop: float | None
    error: dict[str, float]
    noise: float
    bound: float | None = None


class Judge:
    """Holds some inputs and the FP32 network's outputs for them; `bounded` verdicts have a bound too."""

    def __init__(
        self,
        model: ModelProto,
        input_name: str,
        inputs: Sequence[NDArray[Any]],
        metric: TaskMetric | None,
        *,
        bounded: bool = False,
    ) -> None:
        self._bounded = bounded
        self._input_name = input_name
        self._inputs = inputs
        self._metric = metric
        self._references = list(run_network(model, input_name, inputs))
        for outputs in self._references if metric else ():
            metric.add_reference(outputs)  # type: ignore[union-attr]

    @property
    def images(self) -> int:
        """How many images are compared."""
        return len(self._inputs)

    @property
    def metric_name(self) -> str:
        """What the metric is called, empty without one."""
        return self._metric.name if self._metric else ""

    @property
    def measurable(self) -> bool:
        """Whether the metric says anything on these images."""
        return self._metric is not None and self._metric.measurable

    def __call__(self, model: ModelProto) -> Verdict:
        """Run a converted network on all images; raises EngineError if it does not run."""
        outputs = list(run_network(model, self._input_name, self._inputs))
        metric = self._metric if self.measurable else None
        names = list(self._references[0]) if self._references else []
        pairs = list(zip(self._references, outputs, strict=True))
        return Verdict(
            metric.drop(outputs) if metric else None,
            {name: _largest_error([(a[name], b[name]) for a, b in pairs]) for name in names},
            float(np.mean([_noise([(a[name], b[name]) for a, b in pairs]) for name in names])),
            metric.drop_bound(outputs) if metric and self._bounded else None,
        )


def run_network(model: ModelProto, input_name: str, inputs: Sequence[NDArray[Any]]) -> Iterator[Outputs]:
    """Run a network with ONNX Runtime on the host, FP16 and Q/DQ as written; raises EngineError."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Integer kernels differ between processors, some of them saturate; float arithmetic between Q and DQ
    # is what the file says, on every machine.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        session = onnxruntime.InferenceSession(
            with_rounding(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        for array in inputs:
            yield dict(zip(names, session.run(names, {input_name: array}), strict=True))
    except Exception as error:  # ONNX Runtime's own exceptions have no common base
        raise EngineError(
            f"ONNX Runtime cannot run the network: {one_line(error)}: only `--precision fp32` does without"
        ) from error


def _largest_error(pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> float:
    """The largest difference as a share; infinite where FP32 gives a number and the other does not."""
    difference = scale = 0.0
    for reference, found in map(_comparable, pairs):
        if not np.isfinite(found).all():
            return float("inf")
        difference = max(difference, float(np.abs(reference - found).max(initial=0.0)))
        scale = max(scale, float(np.abs(reference).max(initial=0.0)))
    return difference / max(scale, 1e-30)


def _noise(pairs: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> float:
    noise = signal = 0.0
    for reference, found in map(_comparable, pairs):
        if not np.isfinite(found).all():
            return float("inf")
        noise += float(np.square(reference - found).sum()) / max(1, reference.size)
        signal += float(np.square(reference).sum()) / max(1, reference.size)
    return float(np.sqrt(noise / max(signal, 1e-30)))


def _comparable(
    pair: tuple[NDArray[Any], NDArray[Any]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both in FP64, (N,), without the values that are no numbers in FP32 already: the network's own."""
    reference, found = (array.astype(np.float64).ravel() for array in pair)
    numbers = np.isfinite(reference)
    return (reference, found) if numbers.all() else (reference[numbers], found[numbers])
