import inspect
from typing import Any

import numpy as np
import pytest

from avperception.ops import cpu


def test_every_operation_mirrors_one_of_the_reference_by_name_and_parameters(gpu: Any) -> None:
    mirrored = [name for name in gpu.__all__ if name not in ("announce", "deliver", "hold", "PartialImage")]
    assert len(mirrored) > 5
    for name in mirrored:
        own, reference = inspect.signature(getattr(gpu, name)), inspect.signature(getattr(cpu, name))
        assert list(own.parameters) == list(reference.parameters), name


@pytest.mark.parametrize("size", [1, 15, 16, 17, 4096, 1920 * 1080 + 3])
def test_results_arrive_on_the_host_to_the_last_byte(gpu: Any, cupy: Any, size: int) -> None:
    array = cupy.arange(size, dtype=np.uint32).astype(np.uint8)
    memory = cupy.cuda.alloc_pinned_memory(size + 16)
    found = np.frombuffer(memory, np.uint8, size + 16)
    found[...] = 77
    gpu.deliver(array, cupy.asarray([0, memory.ptr], dtype=np.uint64), 1)
    cupy.cuda.Device().synchronize()
    np.testing.assert_array_equal(found[:size], array.get())
    assert (found[size:] == 77).all()
