"""ONNX files read, checked, put into the form that conversions need, and written whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import onnx
from onnx import (
    ModelProto,
    NodeProto,
    TensorProto,
    external_data_helper,
    shape_inference,
    version_converter,
)

from avperception.errors import EngineError

QDQ_OPSET = 19
"""From this version of the operators on QuantizeLinear and DequantizeLinear take FP16 scales."""

_FLOAT64 = TensorProto.DOUBLE


def load_network(path: Path) -> ModelProto:
    """Read an ONNX file, its shapes inferred and every node named.

    Raises EngineError if it is not there, not valid ONNX, keeps weights in another file, or holds FP64,
    naming the operator and node.
    """
    if not path.is_file():
        raise EngineError(f"network {path} is not there")
    try:
        model = onnx.load(str(path), load_external_data=False)
        _refuse_external_weights(path, model)
        onnx.checker.check_model(model)
        model = shape_inference.infer_shapes(model)
    except EngineError:
        raise
    except Exception as error:  # protobuf's, ONNX's and the operating system's, with no common base
        raise EngineError(
            f"{path} is not a usable ONNX file ({one_line(error)}): export the network again"
        ) from error
    _name_nodes(model)
    _refuse_float64(path, model)
    return model


def refuse_dynamic_shapes(path: Path, model: ModelProto) -> None:
    """Raise EngineError if an input's shape is not fixed: no value can be measured then."""
    for tensor in network_inputs(model):
        sizes = [axis.dim_value for axis in tensor.type.tensor_type.shape.dim]
        if not sizes or any(size < 1 for size in sizes):
            raise EngineError(
                f"{path}: input `{tensor.name}` has no fixed shape, and the network has to be run: give "
                "`--shape`, or fix it by `python -m onnxruntime.tools.make_dynamic_shape_fixed --input_name "
                f"{tensor.name} --input_shape 1,3,HEIGHT,WIDTH IN.onnx OUT.onnx`"
            )


def network_inputs(model: ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that a caller gives; old files list their weights among them."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [tensor for tensor in model.graph.input if tensor.name not in weights]


def raise_opset(path: Path, model: ModelProto, version: int) -> ModelProto:
    """Bring the network to at least this version of the operators; raises EngineError if ONNX cannot."""
    current = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if current >= version:
        return model
    try:
        raised = shape_inference.infer_shapes(version_converter.convert_version(model, version))
    except Exception as error:
        raise EngineError(
            f"{path} uses operators of version {current} and cannot be brought to {version}, which INT8 "
            f"needs ({one_line(error)}): export it with opset_version={version}"
        ) from error
    _name_nodes(raised)
    return raised


def constants_to_weights(model: ModelProto) -> None:
    """Turn Constant nodes into initializers, in place: only those are converted one by one."""
    for node in [node for node in model.graph.node if node.op_type == "Constant"]:
        value = next((a.t for a in node.attribute if a.name == "value"), None)
        if value is None:
            continue
        weight = model.graph.initializer.add()
        weight.CopyFrom(value)
        weight.name = node.output[0]
        model.graph.node.remove(node)


def sort_nodes(model: ModelProto) -> None:
    """Put the nodes, in place, into an order in which each comes after those it reads from."""
    known = {tensor.name for tensor in (*model.graph.input, *model.graph.initializer)} | {""}
    waiting: dict[str, list[int]] = {}
    nodes = list(model.graph.node)
    missing = [len({name for name in node.input if name not in known}) for node in nodes]
    for position, node in enumerate(nodes):
        for name in {name for name in node.input if name not in known}:
            waiting.setdefault(name, []).append(position)
    ready = [position for position, count in enumerate(missing) if count == 0]
    ordered: list[NodeProto] = []
    for position in ready:  # grows while it is walked
        ordered.append(nodes[position])
        for name in nodes[position].output:
            for follower in waiting.pop(name, ()):
                missing[follower] -= 1
                if missing[follower] == 0:
                    ready.append(follower)
    # A subgraph's node may read from outside what no input names; such a file keeps its order.
    if len(ordered) == len(nodes):
        del model.graph.node[:]
        model.graph.node.extend(ordered)


def write_network(model: ModelProto, target: Path) -> None:
    """Write the network, whole or not at all; raises EngineError if the disk does not take it."""
    write_bytes(model.SerializeToString(), target)


def write_bytes(data: bytes, target: Path) -> None:
    """Write a file, whole or not at all; raises EngineError if the disk does not take it."""
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(".part", f".{target.name}.", target.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o644)  # mkstemp lets nobody else read it
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise EngineError(
            f"{target} cannot be written: {error.strerror or error}: nothing was kept; free the disk"
        ) from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


def one_line(error: Exception) -> str:
    """An exception's text without line breaks, not longer than a message should be."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:297]}..."


def _name_nodes(model: ModelProto) -> None:
    """Give every node without a name, or with another's, one of its own."""
    taken: set[str] = set()
    for position, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_unnamed_{position}"
        taken.add(node.name)


def _refuse_external_weights(path: Path, model: ModelProto) -> None:
    """Weights elsewhere are not in the file's sha256: an engine of others would pass for the same."""
    for tensor in model.graph.initializer:
        if external_data_helper.uses_external_data(tensor):
            place = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
            raise EngineError(
                f"{path} keeps its weights in another file ({place}), which no sha256 of a card or manifest "
                f"covers: put both into one by `python -c \"import onnx; onnx.save(onnx.load('{path}'), "
                "'WHOLE.onnx')\"`"
            )


def _refuse_float64(path: Path, model: ModelProto) -> None:
    double = {t.name for t in model.graph.initializer if t.data_type == _FLOAT64}
    tensors = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    double |= {t.name for t in tensors if t.type.tensor_type.elem_type == _FLOAT64}
    if not double:
        return
    for node in model.graph.node:
        if double & {*node.input, *node.output}:
            raise EngineError(
                f"{path}: node `{node.name}` ({node.op_type}) computes in FP64, which TensorRT lacks: "
                "export the network in float32"
            )
    raise EngineError(f"{path} holds FP64 tensors ({', '.join(sorted(double)[:3])}): export it in float32")
