"""Networks ready to run: inference runtimes behind one Engine protocol, and how their engines are built."""

from avperception.engines.engine import Engine, ExecutionContext, TensorSpec
from avperception.engines.loading import BACKENDS, ENGINE_POLICIES, find_engine, load_engine

__all__ = [
    "BACKENDS",
    "ENGINE_POLICIES",
    "Engine",
    "ExecutionContext",
    "TensorSpec",
    "find_engine",
    "load_engine",
]
