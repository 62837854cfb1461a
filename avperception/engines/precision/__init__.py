"""Precision lives in the ONNX file: FP16 conversion and INT8 Q/DQ before any engine is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from avperception.engines.options import PRECISIONS
from avperception.engines.precision.request import (
    CALIBRATORS,
    LayerException,
    MetricResult,
    NoMixError,
    PrecisionReport,
    PrecisionRequest,
    SensitivityRow,
)

__all__ = [
    "CALIBRATORS",
    "PRECISIONS",
    "LayerException",
    "MetricResult",
    "NoMixError",
    "PrecisionReport",
    "PrecisionRequest",
    "Progress",
    "SensitivityRow",
    "prepare_onnx",
]

Progress = Callable[[str, int, int], None]
"""Called with the name of the stage, the steps of it that are done, and how many it has."""


def prepare_onnx(
    source: Path, target: Path, request: PrecisionRequest, progress: Progress
) -> PrecisionReport:
    """Write the FP32 network `source` to `target` in the requested precision; whole or not at all.

    Names, shapes and float32 type of the inputs and outputs stay as they are. Raises EngineError for an
    ONNX file that cannot be used (unreadable, dynamic shapes, FP64) or written, ConfigurationError for
    a request that cannot be met: int8 without a calibration set, a pattern that is no regular
    expression or matches no node, a `max_drop` that cannot be held.
    """
    # onnx takes a third of a second to import: whoever only runs engines shall not wait for it.
    from avperception.engines.precision.prepare import prepare

    return prepare(source, target, request, progress)
