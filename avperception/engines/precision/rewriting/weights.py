"""A network's constant weights while its nodes are rewritten."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Values = NDArray[Any]


class Weights:
    """The initializers of a network by name; `add` puts new ones into it."""

    def __init__(self, model: ModelProto) -> None:
        self._graph = model.graph
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> Values:
        return numpy_helper.to_array(self._tensors[name])

    def add(self, name: str, values: Values) -> str:
        """Put a weight into the network, under this name or one like it that is free; gives its name."""
        while name in self._tensors:
            name += "_"
        tensor = numpy_helper.from_array(np.ascontiguousarray(values), name)
        self._graph.initializer.append(tensor)
        self._tensors[name] = tensor
        return name


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """The value of a node's attribute, or the default where it has none."""
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def replace_node(model: ModelProto, old: NodeProto, new: Iterable[NodeProto]) -> None:
    """Put nodes into the place of one."""
    place = list(model.graph.node).index(old)
    model.graph.node.remove(old)
    for offset, node in enumerate(new):
        model.graph.node.insert(place + offset, node)


def remove_unread(model: ModelProto) -> None:
    """Take out, in place, nodes and weights that nothing reads."""
    outputs = {tensor.name for tensor in model.graph.output}
    while True:
        read = outputs | {name for node in model.graph.node for name in node.input}
        unread = [node for node in model.graph.node if not read & set(node.output)]
        if not unread:
            break
        for node in unread:
            model.graph.node.remove(node)
    kept = [TensorProto.FromString(t.SerializeToString()) for t in model.graph.initializer if t.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
