"""Maps of rectified images in GPU memory."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import cupy as cp

from avperception.ops.cpu import LabelMap, SamplingMap
from avperception.types import Array

_copies: WeakKeyDictionary[SamplingMap | LabelMap, tuple[Array, ...]] = WeakKeyDictionary()


def on_gpu(made: SamplingMap | LabelMap) -> tuple[Array, ...]:
    """Give a map's arrays in GPU memory, copied there once, before any capture; they go with the map."""
    if made not in _copies:
        # Not from the memory of the graph that is being prepared: several graphs read the map. Nor on its
        # stream: what is freed there is used again on that stream alone, which goes with the graph.
        stream = cp.cuda.Stream.null
        with stream, cp.cuda.using_allocator(cp.get_default_memory_pool().malloc):
            _copies[made] = tuple(cp.asarray(array) for array in made.arrays)
        stream.synchronize()
    return _copies[made]
