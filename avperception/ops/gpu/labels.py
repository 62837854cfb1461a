"""Segmenter output to class ids in the image's size, on the GPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cupy as cp
import numpy as np

from avperception.errors import ModelError
from avperception.ops.cpu import LabelMap
from avperception.ops.gpu.module import blocks, launch, suffix
from avperception.ops.gpu.rectification import on_gpu
from avperception.ops.placement import Placement
from avperception.types import Array

BLOCK = 128
MAX_OUTPUTS = 4
PIXELS_OF_A_THREAD = 16
MAPPED_PIXELS_OF_A_THREAD = 4


def argmax_labels(outputs: Sequence[Array], class_ids: Sequence[Sequence[int | None]], labels: Array) -> None:
    """Merge the channel-wise argmax of up to four logit tensors (1, C, H, W) into `labels` (H, W) uint8.

    As `ops.cpu.argmax_labels`. Raises ModelError for more outputs.
    """
    if len(outputs) > MAX_OUTPUTS:
        raise ModelError(f"a segmenter has at most {MAX_OUTPUTS} outputs on the GPU, not {len(outputs)}")
    table = _table(tuple(tuple(ids) for ids in class_ids))
    given = [argument for logits in outputs for argument in (logits, logits.shape[1])]
    launch(
        "labels", f"argmax_labels_{suffix(outputs[0])}",
        (blocks(labels.size, BLOCK),), (BLOCK,),
        *given, *([None, 0] * (MAX_OUTPUTS - len(outputs))), table, labels.size, labels,
    )  # fmt: skip


@lru_cache(maxsize=64)
def _table(class_ids: tuple[tuple[int | None, ...], ...]) -> Array:
    """The class of each channel of all outputs in GPU memory, -1 for None; made before any capture."""
    # Not from the memory of the graph that is being prepared: the table is kept for all of them.
    with cp.cuda.using_allocator(cp.get_default_memory_pool().malloc):
        values = [-1 if value is None else value for ids in class_ids for value in ids]
        return cp.asarray(values, dtype=np.int16)


def labels_to_image(labels: Array, placement: Placement, width: int, height: int) -> Array:
    """Bring network-size labels to the image's own size (height, width), as `ops.cpu.labels_to_image`."""
    image = cp.empty((height, width), np.uint8)
    launch(
        "labels", "labels_to_image",
        (blocks(width * height, BLOCK * PIXELS_OF_A_THREAD),), (BLOCK,),
        labels, labels.strides[0], placement.left, placement.top, placement.width, placement.height,
        width, height, image,
    )  # fmt: skip
    return image


def distort_labels(labels: Array, label_map: LabelMap) -> Array:
    """Bring network-size labels of a rectified image to the original image, as `ops.cpu.distort_labels`."""
    (cells,) = on_gpu(label_map)
    image = cp.empty(cells.shape[:2], np.uint8)
    launch(
        "labels", "distort_labels", (blocks(image.size, BLOCK * MAPPED_PIXELS_OF_A_THREAD),), (BLOCK,),
        labels, labels.strides[0], cells, image.size, image,
    )  # fmt: skip
    return image
