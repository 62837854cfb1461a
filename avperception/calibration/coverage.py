"""What light, contrast and sharpness a set of images covers, and what a live image is outside of."""

from __future__ import annotations

from typing import Any


class Coverage:
    """Range and histogram of every image statistic of a set."""

    def as_dict(self) -> dict[str, Any]:
        """The coverage as plain values for JSON (the engine's manifest)."""
        raise NotImplementedError

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Coverage:
        """The coverage that `as_dict` gave."""
        raise NotImplementedError

    def outside(self, statistics: Any) -> list[str]:
        """What of one image's statistics lies outside of the coverage, each in a few words; none is []."""
        raise NotImplementedError
