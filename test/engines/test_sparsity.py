from pathlib import Path

import numpy as np
import onnx
import pytest
from networks import convolution

from avperception.engines.sparsity import refuse_dense
from avperception.errors import EngineError


def pruned(shape: tuple[int, ...], zeros: int) -> np.ndarray:
    """Random weights (O, I, h, w) with so many zeros in each four along the input channels."""
    weight = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for first in range(zeros):
        weight[:, first::4] = 0
    return weight


def test_weights_with_two_zeros_in_each_four_are_sparse(tmp_path: Path):
    path = convolution(tmp_path / "sparse.onnx", pruned((8, 16, 3, 3), 2))
    refuse_dense(path, onnx.load(str(path)))


@pytest.mark.parametrize(("shape", "zeros"), [((8, 16, 3, 3), 1), ((8, 16, 3, 3), 0), ((8, 6, 3, 3), 2)])
def test_other_weights_are_refused(shape: tuple[int, ...], zeros: int, tmp_path: Path):
    path = convolution(tmp_path / "dense.onnx", pruned(shape, zeros))
    with pytest.raises(EngineError, match="none of its 1 weights is 2:4 sparse"):
        refuse_dense(path, onnx.load(str(path)))
