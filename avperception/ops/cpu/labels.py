"""Segmenter output to class ids in the image's size, on the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avperception.ops.cpu.rectification import LabelMap
from avperception.ops.placement import Placement
from avperception.types import UNLABELLED, Float32, UInt8


def argmax_labels(
    outputs: Sequence[NDArray[Any]], class_ids: Sequence[Sequence[int | None]], labels: UInt8
) -> None:
    """Merge the channel-wise argmax of several logit tensors (1, C, H, W) into `labels` (H, W) uint8.

    `class_ids[k][c]` is the class of channel c of output k; None leaves what an earlier output said.
    """
    for logits, ids in zip(outputs, class_ids, strict=True):
        winner = _argmax_channel(logits[0].astype(np.float32, copy=False))
        for channel, class_id in enumerate(ids):
            if class_id is not None:
                _assign(labels, class_id, where=cv2.compare(winner, channel, cv2.CMP_EQ))


def _argmax_channel(logits: Float32) -> UInt8:
    """Argmax over the first axis, the first channel winning a tie; NumPy's own walks memory the wrong way."""
    winner = np.zeros(logits.shape[1:], dtype=np.uint8)
    best = logits[0]
    for channel in range(1, len(logits)):
        _assign(winner, channel, where=cv2.compare(logits[channel], best, cv2.CMP_GT))
        best = np.maximum(best, logits[channel])
    return winner


def _assign(target: UInt8, value: int, where: UInt8) -> None:
    """Set `target` to `value` where the mask is 255, not 0; without branches, slow on ragged masks."""
    np.bitwise_and(target, ~where, out=target)
    np.bitwise_or(target, where & np.uint8(value), out=target)


def labels_to_image(labels: UInt8, placement: Placement, width: int, height: int) -> UInt8:
    """Bring network-size labels to the original image's size, nearest pixel centre, padding cut off.

    OpenCV's INTER_NEAREST_EXACT gives other pixels in version 5 than in 4 where sizes do not divide.
    """
    columns = placement.left + _nearest(width, placement.width)
    rows = placement.top + _nearest(height, placement.height)
    return labels.take(columns, axis=1).take(rows, axis=0)


def distort_labels(labels: UInt8, label_map: LabelMap) -> UInt8:
    """Bring network-size labels of a rectified image to the original one, UNLABELLED where there are none."""
    return cv2.remap(
        labels,
        label_map.cells,
        np.empty(0),  # no fractions
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=UNLABELLED,
    )


def _nearest(target: int, source: int) -> NDArray[np.int64]:
    """The source pixel in which the centre of each target pixel lies, in whole numbers."""
    return (2 * np.arange(target) + 1) * source // (2 * target)
