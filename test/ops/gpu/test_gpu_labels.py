from typing import Any

import numpy as np
import pytest

from avperception.ops import cpu
from avperception.ops.placement import letterbox, stretch


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("channels", [(2, 2), (19,), (1,), (3, 4, 2, 5)])
def test_the_largest_logit_names_the_class(
    gpu: Any, cupy: Any, dtype: Any, channels: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(sum(channels))
    # Few values, so that many pixels have several largest logits.
    outputs = [rng.integers(-3, 4, (1, count, 45, 80)).astype(dtype) for count in channels]
    ids = [[None if k and c == 0 else 10 * k + c for c in range(count)] for k, count in enumerate(channels)]
    expected = np.full((45, 80), 255, np.uint8)
    cpu.argmax_labels(outputs, ids, expected)
    found = cupy.full((45, 80), 255, np.uint8)
    gpu.argmax_labels([cupy.asarray(output) for output in outputs], ids, found)
    np.testing.assert_array_equal(found.get(), expected)


def test_nan_logits_give_the_class_of_the_reference(gpu: Any, cupy: Any) -> None:
    rng = np.random.default_rng(0)
    output = rng.normal(size=(1, 5, 40, 64)).astype(np.float32)
    output[rng.uniform(size=output.shape) < 0.2] = np.nan
    expected = np.zeros((40, 64), np.uint8)
    cpu.argmax_labels([output], [range(5)], expected)
    found = cupy.zeros((40, 64), np.uint8)
    gpu.argmax_labels([cupy.asarray(output)], [range(5)], found)
    np.testing.assert_array_equal(found.get(), expected)


SIZES = [(1920, 1080), (1242, 375), (640, 360), (333, 77), (17, 5), (1, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("network", [(640, 360), (416, 416), (50, 31)])
@pytest.mark.parametrize("way", ["stretch", "top left", "centred"])
def test_labels_come_to_the_size_of_the_image(
    gpu: Any, cupy: Any, size: tuple[int, int], network: tuple[int, int], way: str
) -> None:
    labels = np.random.default_rng(1).integers(0, 256, (network[1], network[0]), np.uint8)
    placement = (
        stretch(size, network) if way == "stretch" else letterbox(size, network, centred=way == "centred")
    )
    found = gpu.labels_to_image(cupy.asarray(labels), placement, *size)
    np.testing.assert_array_equal(found.get(), cpu.labels_to_image(labels, placement, *size))
