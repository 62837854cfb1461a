"""Intersection over union of class masks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from avperception.types import UNLABELLED, UInt8


@dataclass
class MaskScore:
    """Counts pixels over all images; `class_names` are those of the truth, ids by position."""

    class_names: tuple[str, ...]
    _confusion: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self._confusion = np.zeros((len(self.class_names),) * 2, dtype=np.int64)

    def add(self, labels: UInt8, label_names: tuple[str, ...], truth: UInt8) -> None:
        """Add one image: `labels` with ids of `label_names` against `truth`; unlabelled pixels are left out.

        A class that the truth does not know counts as its last one (background).
        """
        last = len(self.class_names) - 1
        table = np.full(256, last, dtype=np.int64)
        for class_id, name in enumerate(label_names):
            table[class_id] = self.class_names.index(name) if name in self.class_names else last
        known = (truth != UNLABELLED) & (truth <= last)
        pairs = truth[known].astype(np.int64) * len(self.class_names) + table[labels[known]]
        self._confusion += np.bincount(pairs, minlength=self._confusion.size).reshape(self._confusion.shape)

    def iou(self) -> dict[str, float]:
        """Give the IoU of each class that occurs in the truth or the labels."""
        common = np.diag(self._confusion)
        union = self._confusion.sum(axis=0) + self._confusion.sum(axis=1) - common
        return {name: float(common[i] / union[i]) for i, name in enumerate(self.class_names) if union[i]}

    def miou(self) -> float | None:
        """Give the mean over classes, None before the first image."""
        values = list(self.iou().values())
        return float(np.mean(values)) if values else None
