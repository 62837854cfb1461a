"""Which values the tensors of a network take on images, measured with ONNX Runtime's calibrators."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from avperception.engines.files import scratch_folder
from avperception.engines.precision.request import Calibrator
from avperception.errors import EngineError

PERCENTILE = 99.999
PERCENTILE_BINS = 2048
ENTROPY_BINS = 512
ENTROPY_LEVELS = 128

Arrays = Iterable[NDArray[Any]]
Step = Callable[[int], None]


class _OneInput:
    """Hands one input to a calibrator, so that it keeps one image's tensors at a time, not all images'."""

    def __init__(self, name: str, array: NDArray[Any]) -> None:
        self._feeds = iter([{name: array}])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._feeds, None)


def largest_values(model: ModelProto, input_name: str, arrays: Arrays, step: Step) -> dict[str, float]:
    """Largest absolute value of every float tensor of the network over the inputs, by tensor."""
    ranges = _calibrate(model, "max", None, input_name, arrays, step)
    found = {}
    for tensor, values in ranges.items():
        found[tensor] = float(np.abs(np.asarray(values.range_value)).max())
    return found


def activation_ranges(
    model: ModelProto,
    calibrator: Calibrator,
    tensors: Sequence[str],
    input_name: str,
    arrays: Arrays,
    step: Step,
) -> Any:
    """Ranges for INT8 of the `tensors`, the TensorsData of onnxruntime.quantization that its quantizers take.

    Entropy: 512 bins at least, 128 levels (ONNX Runtime's own 128 bins leave nothing to choose from).
    Percentile: 99.999 over 2048 bins.
    """
    return _calibrate(model, calibrator, tensors, input_name, arrays, step)


def _calibrate(
    model: ModelProto,
    calibrator: Calibrator,
    tensors: Sequence[str] | None,
    input_name: str,
    arrays: Arrays,
    step: Step,
) -> Any:
    with scratch_folder() as folder, _quiet():
        path = folder / "network.onnx"
        onnx.save(model, str(path))
        session = _make_calibrator(calibrator, path, str(folder / "augmented.onnx"))
        if tensors is not None:
            _choose_tensors(session, tensors)
        session.augment_graph()
        session.create_inference_session()
        count = 0
        for count, array in enumerate(arrays, start=1):
            session.collect_data(_OneInput(input_name, array))
            if calibrator == "max":
                session.compute_data()  # merges this image into the range ...
                session.clear_collected_data()  # ... and lets it go
            step(count)
        if not count:
            raise EngineError("no image to measure the network with: give a calibration set with images")
        return session.compute_data()


def _make_calibrator(calibrator: Calibrator, path: Path, augmented: str) -> Any:
    from onnxruntime.quantization import calibrate

    if calibrator == "max":
        return calibrate.MinMaxCalibrater(path, augmented_model_path=augmented)
    if calibrator == "entropy":
        return calibrate.EntropyCalibrater(
            path, augmented_model_path=augmented, num_bins=ENTROPY_BINS, num_quantized_bins=ENTROPY_LEVELS
        )
    return calibrate.PercentileCalibrater(
        path, augmented_model_path=augmented, num_bins=PERCENTILE_BINS, percentile=PERCENTILE
    )


def _choose_tensors(session: Any, tensors: Sequence[str]) -> None:
    """Have the calibrator look at these tensors alone: by type of node it would take all outputs too."""
    select = session.select_tensors_to_calibrate

    def chosen(model: ModelProto) -> tuple[set[str], Any]:
        available, infos = select(model)
        return available & set(tensors), infos

    session.select_tensors_to_calibrate = chosen


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime's calibrators print what they do."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
