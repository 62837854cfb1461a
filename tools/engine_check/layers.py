"""Which layers of an FP32 engine are not computed in FP32, and what that does to all that follow."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from engine_check.numerics import relative_error, run, run_reference

TRACED = ("Conv", "ConvTranspose")


def trace_layers(network: Path, input_name: str, array: np.ndarray, tf32: bool) -> list[dict[str, Any]]:
    """The error of each convolution by itself, fed with what the engine fed it, and with all before it.

    The engine gives every convolution's input and output. ONNX Runtime computes each anew from the
    engine's own input: what differs then comes from that layer alone.
    """
    from avperception.engines.compiler import compile_network
    from avperception.engines.options import CompilerOptions
    from avperception.engines.tensorrt import TensorrtEngine

    model = onnx.shape_inference.infer_shapes(onnx.load(str(network)))
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "marked.onnx"
        onnx.save(_with_all_outputs(model), str(path))
        engine_path = path.with_suffix(".engine")
        engine_path.write_bytes(compile_network(path, CompilerOptions(tf32=tf32)).data)
        context = TensorrtEngine(engine_path, tf32).create_context()
        expected = run_reference(path, input_name, [array])[0]
        found = {**run(context, array), input_name: array}
    rows = []
    for node in (node for node in model.graph.node if node.op_type in TRACED):
        source, result = node.input[0], node.output[0]
        if {source, result} <= found.keys() and weights.keys() >= set(node.input[1:]):
            alone = _run_alone(model, node, weights, found[source])
            rows.append(
                {
                    "node": node.name,
                    "operator": node.op_type,
                    "weights": list(weights[node.input[1]].dims),
                    "of_this_layer": relative_error(found[result], alone),
                    "with_all_before": relative_error(found[result], expected[result]),
                }
            )
    return rows


def _with_all_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that gives the inputs and outputs of all convolutions."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    given = {output.name for output in model.graph.output}
    shapes = {value.name: value for value in model.graph.value_info}
    for node in model.graph.node:
        for name in (node.input[0], node.output[0]) if node.op_type in TRACED else ():
            if name in shapes and name not in given:
                copy.graph.output.append(shapes[name])
                given.add(name)
    return copy


def _run_alone(
    model: onnx.ModelProto, node: onnx.NodeProto, weights: dict[str, onnx.TensorProto], array: np.ndarray
) -> np.ndarray:
    source = onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, array.shape)
    result = onnx.helper.make_empty_tensor_value_info(node.output[0])
    graph = onnx.helper.make_graph(
        [node], "layer", [source], [result], [weights[name] for name in node.input[1:]]
    )
    layer = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    session = onnxruntime.InferenceSession(layer.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {node.input[0]: array})[0]
