"""Brings a network into the precision that is asked for, and measures what that costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto

from avperception.calibration.set import CalibrationSet
from avperception.engines.options import PRECISIONS
from avperception.engines.precision.cancelling import cancelling_islands
from avperception.engines.precision.finer_weights import coarse_convolutions, split_weights
from avperception.engines.precision.half import convert_to_fp16, find_islands
from avperception.engines.precision.integer import IntegerNetwork, prepare_int8
from avperception.engines.precision.judge import Judge, Verdict
from avperception.engines.precision.metric import task_metric
from avperception.engines.precision.network_file import (
    QDQ_OPSET,
    load_network,
    raise_opset,
    refuse_dynamic_shapes,
    write_bytes,
    write_network,
)
from avperception.engines.precision.ranges import largest_values
from avperception.engines.precision.request import (
    CALIBRATORS,
    LayerException,
    MetricResult,
    PrecisionReport,
    PrecisionRequest,
)
from avperception.engines.precision.rewriting import rewrite_for_tensor_cores
from avperception.engines.precision.samples import NOISE_IMAGES, PICTURES, InputMaker, noise_images
from avperception.errors import ConfigurationError, EngineError, require_one_of
from avperception.types import Image

ISLAND_IMAGES = 16
"""Images that the search for overflowing values looks at."""
WORTH_FP32 = 1.5
"""Nodes whose values vanish in FP16 stay FP32 if the outputs' noise is this much larger without."""
WORTH_TWO_PARTS = 1.2
"""Weights are given in two FP16 parts if the outputs' noise is this much larger without."""
WORTH_EXACT = 1.2
"""Nodes whose products cancel stay FP32 if the outputs' noise is this much larger without."""
COARSENESS_IMAGES = 2
"""Images on which it is measured how much FP16 weights, or an FP16 input, hurt a convolution."""
JUDGED_IMAGES = 32
"""Images that the task's metric is measured on, of each half; they are held in memory."""

OLDEST_ONNXRUNTIME = (1, 21)
"""Older ones cannot load Q/DQ pairs in FP16 (1.19, 1.20), or give measured ranges in another form (1.18)."""

Progress = Callable[[str, int, int], None]


def prepare(source: Path, target: Path, request: PrecisionRequest, progress: Progress) -> PrecisionReport:
    """Do what `prepare_onnx` says."""
    begin = time.monotonic()
    _check(request)
    model = load_network(source)
    if request.precision == "fp32":
        write_bytes(source.read_bytes(), target)
        return PrecisionReport("fp32", seconds=time.monotonic() - begin)
    _check_onnxruntime(request.precision)
    if request.input_shape is None:
        refuse_dynamic_shapes(source, model)
    preparation = Preparation(source, model, request, progress)
    written, report = preparation.int8() if request.precision == "int8" else preparation.fp16()
    write_network(written, target)
    return PrecisionReport(**{**vars(report), "seconds": round(time.monotonic() - begin, 2)})


class Preparation:
    """One network on its way to FP16 or INT8, with the images it is measured on."""

    def __init__(
        self, source: Path, model: ModelProto, request: PrecisionRequest, progress: Progress
    ) -> None:
        self._source = source
        self._request = request
        self._progress = progress
        self._given = self._model = model
        self._changes: tuple[str, ...] = ()
        if request.precision == "int8":
            self._model = raise_opset(source, model, QDQ_OPSET)
        elif request.rewrite and request.input_shape is None:
            self._model, self._changes = rewrite_for_tensor_cores(model)
        self._make_input = InputMaker(request.card, self._model, source, request.input_shape)

    def fp16(self) -> tuple[ModelProto, PrecisionReport]:
        """Convert to FP16 around the islands and compare with FP32."""
        judge = self._judge("running FP32", self._pictures)
        islands, half, verdict = self._islands(self._all, judge)
        _refuse_non_finite(self._source, verdict)
        too_wide = islands
        islands, half, verdict, notes = self._with_cancelling_islands(islands, half, verdict, judge)
        half, verdict, finer_notes = self._with_finer_weights(islands, half, verdict, judge)
        report = self._report(islands, verdict, _metric_result(judge, verdict, None, None))
        return half, replace(
            report,
            exact_fp32=len(islands) > len(too_wide),
            notes=(*report.notes, *self._changes, *notes, *finer_notes),
        )

    def _with_cancelling_islands(
        self, islands: tuple[LayerException, ...], half: ModelProto, verdict: Verdict, judge: Judge
    ) -> tuple[tuple[LayerException, ...], ModelProto, Verdict, tuple[str, ...]]:
        """Leave convolutions whose products cancel in FP32, with what makes their input, if that helps."""
        if self._request.tf32:
            return islands, half, verdict, ()
        kept = {island.name for island in islands}
        found = cancelling_islands(self._model, self._make_input.name, self._looked_at)
        more = [island for island in found if island.name not in kept]
        if not more:
            return islands, half, verdict, ()
        wider = self._in_order((*islands, *more))
        wider_half, wider_verdict = self._tried(wider, judge)
        if verdict.noise < wider_verdict.noise * WORTH_EXACT:
            return islands, half, verdict, ()
        note = (
            f"{len(more)} nodes stay in FP32, without TF32, where products cancel: the outputs' noise is "
            f"{_smaller(verdict, wider_verdict)}"
        )
        return wider, wider_half, wider_verdict, (note,)

    def _with_finer_weights(
        self, islands: tuple[LayerException, ...], half: ModelProto, verdict: Verdict, judge: Judge
    ) -> tuple[ModelProto, Verdict, tuple[str, ...]]:
        """Give convolutions that FP16 weights are too coarse for weights in two parts, if that helps."""
        kept = {island.name for island in islands}
        found = coarse_convolutions(self._model, self._make_input.name, self._looked_at)
        coarse = [name for name in found if name not in kept]
        if not coarse:
            return half, verdict, ()
        finer, finer_verdict = self._tried(islands, judge, split_weights(self._model, coarse))
        if verdict.noise < finer_verdict.noise * WORTH_TWO_PARTS:
            return half, verdict, ()
        note = (
            f"FP16 weights are too coarse for {', '.join(coarse)}: theirs are sums of two FP16 values, "
            f"which makes the outputs' noise {_smaller(verdict, finer_verdict)}"
        )
        return finer, finer_verdict, (note,)

    @cached_property
    def _looked_at(self) -> list[NDArray[Any]]:
        """The inputs on which it is measured what FP16 does to each convolution."""
        return list(self._make_input.all(self._images(_spread(self._pictures, COARSENESS_IMAGES))))

    def int8(self) -> tuple[ModelProto, PrecisionReport]:
        """Calibrate, quantise, search for the mix if a limit is given, convert the rest to FP16."""
        request = self._request
        searching = request.max_drop is not None
        chosen = self._all[::2] if searching else self._all
        search = self._judge("running FP32", chosen)
        too_wide, half, verdict = self._islands(chosen, search)
        islands, _, _, notes = self._with_cancelling_islands(too_wide, half, verdict, search)
        held_out = None
        if searching:
            held_out = self._judge("running FP32 on held-out images", self._all[1::2], bounded=True)
        network = IntegerNetwork(self._model, islands, request.keep_fp16)
        network.calibrate(
            request.calibrator,
            self._make_input.name,
            lambda: self._make_input.all(self._images(chosen)),
            lambda done: self._progress("calibrating", done, len(chosen)),
        )
        result = prepare_int8(network, request.max_drop, search, held_out, self._progress)
        _refuse_non_finite(self._source, result.search)
        report = self._report(
            (*islands, *result.exceptions),
            result.search,
            _metric_result(search, result.search, held_out, result.held_out),
        )
        extra = {
            "calibrator": request.calibrator,
            "quantized_nodes": result.quantized_nodes,
            "exact_fp32": len(islands) > len(too_wide),
            "table": result.rows,
            "notes": (*report.notes, *notes, *result.notes, *_nothing_left(result.quantized_nodes)),
        }
        return result.model, PrecisionReport(**{**vars(report), **extra})

    def _islands(
        self, positions: range, judge: Judge
    ) -> tuple[tuple[LayerException, ...], ModelProto, Verdict]:
        """Find the nodes that FP16 cannot hold; give them, the network in FP16 around them, its verdict."""
        looked_at = _spread(positions, ISLAND_IMAGES)
        largest = largest_values(
            self._model,
            self._make_input.name,
            self._make_input.all(self._images(looked_at)),
            lambda done: self._progress("measuring values", done, len(looked_at)),
        )
        found = find_islands(self._model, largest)
        half, verdict = self._tried(found.overflow, judge)
        if found.underflow:
            wider = self._in_order((*found.overflow, *found.underflow))
            wider_half, wider_verdict = self._tried(wider, judge)
            if not verdict.noise < wider_verdict.noise * WORTH_FP32:
                return wider, wider_half, wider_verdict
        return found.overflow, half, verdict

    def _in_order(self, exceptions: tuple[LayerException, ...]) -> tuple[LayerException, ...]:
        """Exceptions in the order of the network's nodes."""
        order = {node.name: position for position, node in enumerate(self._model.graph.node)}
        return tuple(sorted(exceptions, key=lambda exception: order[exception.name]))

    def _tried(
        self, islands: tuple[LayerException, ...], judge: Judge, model: ModelProto | None = None
    ) -> tuple[ModelProto, Verdict]:
        half = convert_to_fp16(model or self._model, [island.name for island in islands])
        self._progress("comparing FP16 with FP32", 0, 1)
        verdict = judge(half)
        self._progress("comparing FP16 with FP32", 1, 1)
        return half, verdict

    def _judge(self, stage: str, positions: range, *, bounded: bool = False) -> Judge:
        judged = _spread(positions, JUDGED_IMAGES)
        self._progress(stage, 0, len(judged))
        arrays: list[NDArray[Any]] = list(self._make_input.all(self._images(judged)))
        metric = task_metric(self._request.card, self._make_input.size) if self._calibration else None
        judge = Judge(self._given, self._make_input.name, arrays, metric, bounded=bounded)
        self._progress(stage, len(judged), len(judged))
        return judge

    @property
    def _calibration(self) -> CalibrationSet | None:
        return self._request.calibration

    @property
    def _all(self) -> range:
        """Positions of all images."""
        return range(NOISE_IMAGES if self._calibration is None else len(self._calibration))

    @property
    def _pictures(self) -> range:
        """Positions of the images that are like those the network will see."""
        return PICTURES if self._calibration is None else self._all

    def _images(self, positions: Sequence[int]) -> Iterator[Image]:
        """The images at these positions of the set, or of the noise that stands in for one."""
        if self._calibration is not None:
            return self._calibration.images(positions)
        noise = list(noise_images(*self._make_input.size))
        return (noise[position] for position in positions)

    def _report(
        self, exceptions: tuple[LayerException, ...], verdict: Verdict, metric: MetricResult | None
    ) -> PrecisionReport:
        calibration = self._calibration
        notes = []
        if calibration is None:
            notes.append(
                "no calibration set: values and error were measured on noise; "
                "`--calibration DIR` measures them on images"
            )
        elif calibration.skipped:
            notes.append(f"skipped {calibration.skipped_text}")
        if calibration is not None and metric is None:
            notes.append("the FP32 network finds nothing on these images: no metric could be measured")
        return PrecisionReport(
            self._request.precision,
            exceptions=exceptions,
            calibration_hash=calibration.hash if calibration else None,
            coverage=calibration.coverage.as_dict() if calibration else None,
            images_used=len(self._all),
            images_skipped=len(calibration.skipped) if calibration else 0,
            metric=metric,
            output_error={name: float(f"{error:.4g}") for name, error in verdict.error.items()},
            notes=tuple(notes),
        )


def _smaller(before: Verdict, after: Verdict) -> str:
    return f"{before.noise / after.noise:.1f} times smaller" if after.noise else "zero"


def _nothing_left(quantized_nodes: int) -> tuple[str, ...]:
    if quantized_nodes:
        return ()
    return ("nothing is left in INT8, all is FP16: fp16 gives a network that is faster and more exact",)


def _spread(positions: Sequence[int], count: int) -> list[int]:
    """At most `count` of the positions, evenly from the first to the last."""
    if len(positions) <= count:
        return list(positions)
    return [positions[round(i * (len(positions) - 1) / (count - 1))] for i in range(count)]


def _check(request: PrecisionRequest) -> None:
    require_one_of("precision", request.precision, PRECISIONS)
    require_one_of("calibrator", request.calibrator, CALIBRATORS)
    if request.precision != "int8":
        if request.keep_fp16 or request.max_drop is not None:
            raise ConfigurationError(
                f"keep_fp16 and max_drop choose what is left out of int8, precision is {request.precision}: "
                "leave them out, or ask for int8"
            )
        return
    if request.calibration is None:
        raise ConfigurationError(
            "int8 needs a calibration set: make one with `avperception calibrate collect BAG --out SET`"
        )
    if request.max_drop is not None:
        if not 0 < request.max_drop < 1:
            raise ConfigurationError(
                f"max_drop is {request.max_drop:g}: it must be a share between 0 and 1, such as 0.01 for 1 %"
            )
        if len(request.calibration) < 4:
            raise ConfigurationError(
                f"max_drop needs 4 images or more, half of them to check the choice on, "
                f"{request.calibration.folder} has {len(request.calibration)}: collect more"
            )


def _check_onnxruntime(precision: str) -> None:
    import onnxruntime

    found = str(onnxruntime.__version__)
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST_ONNXRUNTIME:
        oldest = ".".join(map(str, OLDEST_ONNXRUNTIME))
        raise EngineError(
            f"precision {precision} needs ONNX Runtime {oldest} or newer, this is {found}: "
            f"run `pip install 'onnxruntime>={oldest}'`, or build with fp32"
        )


def _refuse_non_finite(source: Path, verdict: Verdict) -> None:
    broken = [name for name, error in verdict.error.items() if not error < float("inf")]
    if broken:
        raise EngineError(
            f"{source}: output `{broken[0]}` is not finite after the conversion although every value that "
            "was measured fits: give a calibration set with images of the network's own domain"
        )


def _metric_result(
    judge: Judge, verdict: Verdict, held_judge: Judge | None, held: Verdict | None
) -> MetricResult | None:
    if verdict.drop is None:
        return None
    return MetricResult(
        judge.metric_name,
        round(verdict.drop, 5),
        round(held.drop, 5) if held and held.drop is not None else None,
        judge.images,
        held_judge.images if held_judge else 0,
        round(held.bound, 5) if held and held.bound is not None else None,
    )
