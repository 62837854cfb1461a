import inspect
from typing import Any

import numpy as np
import pytest

from avperception.ops import cpu


def test_every_operation_mirrors_one_of_the_reference_by_name_and_parameters(gpu: Any) -> None:
    own_ones = ("announce", "deliver", "fetch_rows", "hold", "PartialImage")
    mirrored = [name for name in gpu.__all__ if name not in own_ones]
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


@pytest.mark.parametrize("offset", [0, 1, 4, 15, 16, 76])
@pytest.mark.parametrize(
    ("height", "row_bytes", "step"), [(7, 1, 1), (9, 16, 16), (5, 3726, 3726), (6, 48, 53), (700, 5763, 5763)]
)
def test_rows_come_from_the_host_wherever_they_lie(
    gpu: Any, cupy: Any, offset: int, height: int, row_bytes: int, step: int
) -> None:
    memory = cupy.cuda.alloc_pinned_memory(offset + height * step)
    stored = np.frombuffer(memory, np.uint8, offset + height * step)
    stored[...] = np.random.default_rng(3).integers(0, 256, len(stored))
    image = stored[offset:].reshape(height, step)[:, :row_bytes]
    source = cupy.asarray([memory.ptr + offset, step], dtype=np.uint64)
    rows = np.unique([*range(0, height, 2), height - 1])
    target = cupy.full((len(rows) + 1, row_bytes), 77, np.uint8)
    gpu.fetch_rows(source, cupy.asarray(rows, dtype=np.int32), target[:-1])
    np.testing.assert_array_equal(target[:-1].get(), image[rows])
    assert (target[-1].get() == 77).all()
