"""The kernels that TensorRT-RTX compiled for this GPU, kept so that the next start takes no seconds."""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from avperception.engines.adapter import create_runtime_config, tf32_kernels, trt
from avperception.engines.files import cache_directory, locked, write_together
from avperception.engines.machine import Machine
from avperception.errors import EngineError

_logger = logging.getLogger(__name__)


class JitCache:
    """The runtime cache of one engine on one GPU with one driver, shared by the engine's contexts.

    `tf32` is what the engine was built with. With a flavour that compiles everything at build time the
    cache does nothing.
    """

    def __init__(self, engine: trt.ICudaEngine, engine_sha256: str, machine: Machine, tf32: bool) -> None:
        self.path = jit_cache_path(engine_sha256, machine)
        self.warm = False
        self._tf32 = tf32
        self._cache: Any = None
        self._kept = b""
        self._config = create_runtime_config(engine)
        if self._config is not None:
            self._cache = self._config.create_runtime_cache()
            self.warm = self._read()
            self._config.set_runtime_cache(self._cache)

    def create_context(self, engine: trt.ICudaEngine) -> trt.IExecutionContext | None:
        """Make an execution context that uses the cache; None if TensorRT cannot."""
        if self._config is None:
            return engine.create_execution_context()
        with tf32_kernels(self._tf32):
            return engine.create_execution_context(self._config)

    def keep(self) -> None:
        """Write the cache if there is anything new in it; a failure costs the next start time, no more."""
        if self._cache is None:
            return
        data = bytes(self._cache.serialize())
        if _digest(data) == _digest(self._kept):
            return
        try:
            with locked(self.path):
                write_together({self.path: data})
            self._kept = data
        except EngineError as error:
            _logger.warning("the compiled kernels are not kept, so the next start is slow again: %s", error)

    def _read(self) -> bool:
        """Take over what an earlier process kept; what does not fit or is damaged is left out."""
        data = b""
        with suppress(OSError):
            data = self.path.read_bytes()
        if not data or not self._cache.deserialize(data):
            return False
        self._kept = data
        return True


def jit_cache_path(engine_sha256: str, machine: Machine) -> Path:
    """Where the kernels of an engine are kept; another driver, GPU or version has a file of its own."""
    parts = (
        engine_sha256[:16],
        machine.version or "none",
        machine.driver or "none",
        machine.gpu.compute_capability if machine.gpu else "none",
    )
    return cache_directory() / "jit" / (re.sub(r"[^A-Za-z0-9.]+", "-", "_".join(parts)) + ".cache")


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
