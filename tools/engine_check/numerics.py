"""Outputs of engines against ONNX Runtime in FP32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

OBJECTNESS = 0.01
"""From here on an anchor point of a detector may be an object."""


def make_inputs(card: Any, network: Path, folder: Path | None) -> list[np.ndarray]:
    """The network inputs of some images, as the pipeline makes them."""
    import cv2

    from avperception.engines.precision.network_file import load_network
    from avperception.engines.precision.samples import InputMaker
    from avperception.types import Image

    if folder:
        pictures = [cv2.imread(str(path)) for path in sorted(folder.iterdir())]
        pictures = [picture for picture in pictures if picture is not None][:8]
    else:
        pictures = [generated_picture(seed) for seed in range(4)]
    maker = InputMaker(card, load_network(network), network)
    return [
        maker(Image(picture, "bgr8", picture.shape[1], picture.shape[0], 0, "camera")) for picture in pictures
    ]


def generated_picture(seed: int) -> np.ndarray:
    """Noise of all sizes, as natural images have it: neither flat nor white."""
    import cv2

    random = np.random.default_rng(seed)
    picture = np.zeros((720, 1280, 3))
    for size in (3, 6, 12, 24, 48, 96, 192):
        coarse = random.normal(size=(size, size * 16 // 9, 3))
        picture += cv2.resize(coarse, (1280, 720), interpolation=cv2.INTER_CUBIC) / np.sqrt(size)
    return np.clip(128 + 60 * picture, 0, 255).astype(np.uint8)


def run_reference(network: Path, name: str, inputs: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The outputs of ONNX Runtime on the host, in FP32."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, session.run(names, {name: array}), strict=True)) for array in inputs]


def run(context: Any, array: np.ndarray) -> dict[str, np.ndarray]:
    """Run a context on one input and bring its outputs to the host."""
    next(iter(context.inputs.values())).set(array)
    context.execute()
    return {name: output.get() for name, output in context.outputs.items()}


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Norm of the difference over the norm of what is wanted; of zeros throughout, the norm itself."""
    exact = wanted.astype(np.float64)
    return float(np.linalg.norm(found.astype(np.float64) - exact) / (np.linalg.norm(exact) or 1.0))


def errors(
    expected: list[dict[str, np.ndarray]], found: list[dict[str, np.ndarray]], name: str
) -> dict[str, Any]:
    """Errors of one output over all images: the relative one, and others as shares of its largest value.

    The largest says little of a detector: where it sees nothing, nobody has taught it and nobody reads.
    """
    wanted = np.stack([outputs[name] for outputs in expected])
    got = np.stack([outputs[name] for outputs in found])
    difference = np.abs(got.astype(np.float64) - wanted)
    scale = float(np.abs(wanted).max()) or 1.0
    objects = wanted[..., 4] > OBJECTNESS if wanted.ndim == 4 and wanted.shape[1] == 1 else None
    return {
        "relative": relative_error(got, wanted),
        "largest": float(difference.max()) / scale,
        "percentile_99.9": float(np.percentile(difference, 99.9)) / scale,
        "largest_at_objects": (
            float(difference[objects].max()) / scale if objects is not None and objects.any() else None
        ),
    }


def contexts_agree(engine: Any, inputs: list[np.ndarray]) -> bool:
    """Two contexts on two streams at once give what each gives alone."""
    import cupy

    contexts = [engine.create_context() for _ in range(2)]
    arrays = [inputs[0], inputs[-1]]
    alone = [run(context, array) for context, array in zip(contexts, arrays, strict=True)]
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in contexts]
    for context, stream in zip(contexts, streams, strict=True):
        for _ in range(20):
            context.execute(stream)
    for stream in streams:
        stream.synchronize()
    return all(
        np.allclose(context.outputs[name].get(), wanted, rtol=1e-5, atol=1e-6)
        for context, outputs in zip(contexts, alone, strict=True)
        for name, wanted in outputs.items()
    )
