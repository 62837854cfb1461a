"""Whether a network's weights are 2:4 sparse, which is what sparse tensor cores compute faster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from avperception.errors import EngineError

_SPARSE_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def refuse_dense(path: Path, model: Any) -> None:
    """Raise EngineError unless a weight is 2:4 sparse: two zeros in each four along its input channels."""
    weights = {weight.name: weight for weight in model.graph.initializer}
    looked_at = 0
    for node in model.graph.node:
        if node.op_type in _SPARSE_OPERATORS and len(node.input) > 1 and node.input[1] in weights:
            looked_at += 1
            if _is_two_of_four(weights[node.input[1]], node.op_type):
                return
    raise EngineError(
        f"{path}: --sparse: none of its {looked_at} weights is 2:4 sparse, so nothing would be gained: "
        "prune the network (two zeros in each four input channels) and train it again, or leave --sparse away"
    )


def _is_two_of_four(weight: Any, operator: str) -> bool:
    from onnx import numpy_helper

    values: np.ndarray[Any, Any] = numpy_helper.to_array(weight)
    if values.ndim < 2:
        return False
    channels = np.moveaxis(values, 1 if operator == "Conv" else 0, -1)
    if channels.shape[-1] % 4:
        return False
    groups = channels.reshape(-1, 4)
    return bool(((groups == 0).sum(axis=1) >= 2).all())
