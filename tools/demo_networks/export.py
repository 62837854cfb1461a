"""From a trained network to an ONNX file: static shape, opset 17, batch normalisation folded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import nn

OPSET = 17
MAX_BYTES = 2_500_000


def export_onnx(network: nn.Module, height: int, width: int, output: str, path: Path) -> float:
    """Write the network as `images` -> `output`; give the largest difference of ONNX Runtime to PyTorch.

    Raises ValueError when the file is larger than the package allows.
    """
    network = network.float().cpu().eval()
    image = torch.rand(1, 3, height, width)
    torch.onnx.export(
        network,
        (image,),
        str(path),
        opset_version=OPSET,
        input_names=["images"],
        output_names=[output],
        do_constant_folding=True,
        dynamo=False,
    )
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, {MAX_BYTES} are allowed")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": image.numpy()})
    with torch.no_grad():
        wanted = network(image).numpy()
    return float(np.abs(found - wanted).max())
