"""Average precision of 3D boxes by centre distance, as nuScenes defines it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from avperception.types import Detection3D, Float64

MIN_RECALL = 0.1
MIN_PRECISION = 0.1

IGNORE_DISTANCE = 2.0
"""A detection this near [m] to an object that does not count is on it; nuScenes' widest threshold."""


@dataclass(frozen=True)
class TrueBox3D:
    """A true object in the target frame; `counted` False if it need not be found."""

    class_name: str
    center: Float64
    counted: bool


@dataclass
class BoxScore3D:
    """Collects sweeps and scores them at one distance [m] between centres on the ground.

    A detection takes the nearest true object of its class within the distance that no better detection
    has taken (Caesar et al., nuScenes, CVPR 2020). Left out are detections that take an object that does
    not count, and of those that take none the ones on such an object and the ones beyond `max_range`
    [m] of the frame's origin, where no object counts.
    """

    class_names: tuple[str, ...]
    distance: float = 1.0
    max_range: float = np.inf
    _hits: dict[str, list[tuple[float, bool]]] = field(default_factory=dict)
    _objects: dict[str, int] = field(default_factory=dict)
    _errors: dict[str, list[float]] = field(default_factory=dict)

    def add(self, detections: Sequence[Detection3D], truth: Sequence[TrueBox3D]) -> None:
        """Add one sweep."""
        for name in self.class_names:
            objects = [box for box in truth if box.class_name == name]
            self._objects[name] = self._objects.get(name, 0) + sum(box.counted for box in objects)
            found = sorted((d for d in detections if d.class_name == name), key=lambda d: -d.score)
            self._match(name, found, objects)

    @property
    def counts(self) -> dict[str, int]:
        """Objects that count, by class."""
        return {name: self._objects.get(name, 0) for name in self.class_names}

    def ap(self) -> dict[str, float]:
        """Give AP by class, for classes with true objects, and their mean as `all`."""
        scores = {
            name: _average_precision(self._hits.get(name, []), count)
            for name, count in self._objects.items()
            if count
        }
        if scores:
            scores["all"] = float(np.mean(list(scores.values())))
        return scores

    def median_error(self) -> dict[str, float]:
        """Give the median distance [m] of matched centres, in space, by class and as `all`."""
        medians = {name: float(np.median(errors)) for name, errors in self._errors.items() if errors}
        every = [error for errors in self._errors.values() for error in errors]
        return {**medians, **({"all": float(np.median(every))} if every else {})}

    def _match(self, name: str, found: list[Detection3D], objects: list[TrueBox3D]) -> None:
        hits = self._hits.setdefault(name, [])
        errors = self._errors.setdefault(name, [])
        taken: set[int] = set()
        for detection in found:
            distances = [float(np.linalg.norm(detection.center[:2] - box.center[:2])) for box in objects]
            free = [i for i in range(len(objects)) if i not in taken and distances[i] <= self.distance]
            if not free:
                if not self._is_left_out(detection, objects, distances):
                    hits.append((detection.score, False))
                continue
            nearest = min(free, key=lambda i: distances[i])
            taken.add(nearest)
            if objects[nearest].counted:
                hits.append((detection.score, True))
                errors.append(float(np.linalg.norm(detection.center - objects[nearest].center)))

    def _is_left_out(self, detection: Detection3D, objects: list[TrueBox3D], distances: list[float]) -> bool:
        if float(np.hypot(*detection.center[:2])) > self.max_range:
            return True
        ignored = zip(objects, distances, strict=True)
        return any(not box.counted and distance <= IGNORE_DISTANCE for box, distance in ignored)


def _average_precision(hits: list[tuple[float, bool]], count: int) -> float:
    """Area under precision over recall where both exceed 10 %, scaled to 1."""
    if not hits:
        return 0.0
    ordered = np.array([hit for _, hit in sorted(hits, key=lambda entry: -entry[0])])
    true_positives = np.cumsum(ordered)
    recall = true_positives / count
    precision = true_positives / np.arange(1, len(ordered) + 1)
    points = np.linspace(0, 1, 101)
    curve = np.interp(points, recall, precision, right=0.0)
    above = curve[round(100 * MIN_RECALL) + 1 :] - MIN_PRECISION
    return min(1.0, float(np.clip(above, 0, None).mean() / (1 - MIN_PRECISION)))
