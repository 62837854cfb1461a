"""Live images against what an INT8 network was calibrated with."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avperception.calibration import Coverage, image_statistics
from avperception.calibration.conditions import condition_of
from avperception.engines.manifest import read_manifest
from avperception.errors import AvperceptionError, ConfigurationError
from avperception.models.library import network_path
from avperception.nodes.diagnostics import Level, Problem
from avperception.nodes.worker import Worker
from avperception.pipeline.network import Network
from avperception.types import Image

IMAGES_KEPT = 10
"""A camera is outside of a calibration when most of its last images were, and at least LEAST of them."""
LEAST = 3

FORGOTTEN_S = 10.0
"""What was seen this long ago says nothing about now."""


def coverage_of(network: Network) -> Coverage | None:
    """Give what a network was calibrated with, None for one that is not INT8 or does not know.

    The network's own `coverage`, as an engine's manifest has it, comes first; for a quantized ONNX file
    that lies beside the engine built from it, as ONNX Runtime runs it, the manifest is looked up.
    Raises ConfigurationError if that is damaged.
    """
    known: Mapping[str, Any] | None = getattr(network, "coverage", None)
    if known is None and (path := network_path(network.card)):
        known = _manifest_coverage(path)
    return None if known is None else Coverage.from_dict(known)


def _manifest_coverage(network: Path) -> Mapping[str, Any] | None:
    manifest_path = network.with_suffix(".json")
    if not manifest_path.is_file():
        return None
    try:
        manifest = read_manifest(manifest_path)
    except AvperceptionError as error:
        raise ConfigurationError(f"what {network.name} was calibrated with is not known: {error}") from error
    return manifest.coverage if manifest.prepared_onnx.file == network.name else None


@dataclass(frozen=True)
class _Look:
    """One image compared with all networks: what is outside, by network, and what the image looks like."""

    time_s: float
    outside: Mapping[str, tuple[str, ...]]
    condition: str


class CoverageWatch:
    """Measures an image of each camera now and then, on a thread of its own, and remembers the last ones."""

    def __init__(self, coverages: Mapping[str, Coverage]) -> None:
        self._coverages = dict(coverages)
        self._next_s: dict[str, float] = {}
        self._looks: dict[str, deque[_Look]] = {}
        self.looked = 0
        self._worker: Worker[tuple[str, Image]] | None = None
        if coverages:
            # An image pushed out by another camera's is as good as one not due.
            self._worker = Worker("coverage", self._look, lambda _: None, capacity=8)

    def offer(self, camera: str, image: Image, period_s: float) -> None:
        """Show an image of a camera, one thread a camera; it is looked at only if that is due."""
        now_s = time.monotonic()
        if self._worker is None or not period_s or now_s < self._next_s.get(camera, 0.0):
            return
        self._next_s[camera] = now_s + period_s
        self._worker.submit((camera, image))

    def problems(self, camera: str) -> list[Problem]:
        """What of a camera's present images lies outside, one warning for each network."""
        looks = self._recent(camera)
        if len(looks) < LEAST:
            return []
        found = []
        for role, coverage in self._coverages.items():
            features = [text for text in looks[-1].outside[role] if self._is_lasting(looks, role, text)]
            if features:
                found.append(
                    Problem(
                        Level.WARN,
                        f"outside of what the INT8 {role} was calibrated with: {', '.join(features)}"
                        + _unknown_condition(coverage, looks[-1].condition),
                    )
                )
        return found

    def values(self, camera: str) -> dict[str, str]:
        """What the camera's present images look like; nothing where no network is calibrated."""
        looks = self._recent(camera)
        return {"looks like": looks[-1].condition} if looks else {}

    @property
    def is_idle(self) -> bool:
        """True when no image waits to be looked at."""
        return self._worker is None or self._worker.is_idle

    def stop(self) -> None:
        """End the thread."""
        if self._worker is not None:
            self._worker.stop()

    def _look(self, item: tuple[str, Image]) -> None:
        camera, image = item
        try:
            statistics = image_statistics(image)
        except Exception:  # the camera's own worker has reported an image that cannot be converted
            return
        outside = {role: tuple(coverage.outside(statistics)) for role, coverage in self._coverages.items()}
        self.looked += 1
        looks = self._looks.setdefault(camera, deque(maxlen=IMAGES_KEPT))
        looks.append(_Look(time.monotonic(), outside, condition_of(statistics)))

    def _recent(self, camera: str) -> list[_Look]:
        oldest_s = time.monotonic() - FORGOTTEN_S
        return [look for look in tuple(self._looks.get(camera, ())) if look.time_s >= oldest_s]

    @staticmethod
    def _is_lasting(looks: list[_Look], role: str, text: str) -> bool:
        """Whether the statistic, the text's first word, was outside in most of the looks."""
        feature = text.partition(" ")[0]
        times = sum(any(t.startswith(f"{feature} ") for t in look.outside[role]) for look in looks)
        return 2 * times > len(looks)


def _unknown_condition(coverage: Coverage, condition: str) -> str:
    """Say that the set holds nothing like it, if so."""
    if coverage.conditions.get(condition):
        return ""
    known = ", ".join(f"{name} {count}" for name, count in coverage.conditions.items() if count)
    return f" (looks like {condition}; the calibration set holds {known or 'nothing'})"
