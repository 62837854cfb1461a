"""What TensorRT measured in earlier builds, kept so that the next one need not measure it again."""

from __future__ import annotations

import re
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from avperception.engines.adapter import flavour, trt
from avperception.engines.files import cache_directory, locked, write_together
from avperception.engines.machine import current_machine
from avperception.errors import EngineError


@dataclass(frozen=True)
class TimingCache:
    """The timing cache of one GPU and one version of TensorRT."""

    path: Path

    @staticmethod
    def of_this_machine() -> TimingCache | None:
        """Give the cache of this GPU; None for TensorRT-RTX, which measures nothing, and without a GPU."""
        found, gpu = flavour(), current_machine().gpu
        if found.is_rtx or gpu is None:
            return None
        name = re.sub(r"[^A-Za-z0-9]+", "-", f"{gpu.name} {gpu.compute_capability} {found.version}").lower()
        return TimingCache(cache_directory() / "timing" / f"{name}.cache")

    def attach(self, config: trt.IBuilderConfig) -> None:
        """Let a build use what is known; an unreadable or foreign cache is begun anew."""
        data = b""
        with suppress(OSError):
            data = self.path.read_bytes()
        if not data or not config.set_timing_cache(config.create_timing_cache(data), False):
            config.set_timing_cache(config.create_timing_cache(b""), False)

    def keep(self, config: trt.IBuilderConfig) -> None:
        """Add what the build measured to the file; a build is not lost because its cache cannot be kept."""
        try:
            with locked(self.path):
                cache = config.get_timing_cache()
                with suppress(OSError):
                    # Another build may have kept its own since `attach`.
                    cache.combine(config.create_timing_cache(self.path.read_bytes()), False)
                write_together({self.path: bytes(cache.serialize())})
        except EngineError as error:
            warnings.warn(f"the timing cache is not kept: {error}", stacklevel=2)
