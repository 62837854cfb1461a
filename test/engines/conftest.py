"""ONNX files of a node or two, written from the wire format itself: the tests need no exporter."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ELEMENT_TYPES = {"float32": 1, "uint8": 2, "int64": 7, "bool": 9, "float16": 10}
"""TensorProto.DataType of onnx.proto."""

Tensor = tuple[str, str, Sequence["int | str"]]
"""Name, element type, and sizes, a name for an open one."""


def field(number: int, value: "int | str | bytes") -> bytes:
    """One protobuf field: a varint, or bytes with their length before them."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    if value < 128:
        return bytes([value])
    return bytes([value % 128 | 128]) + varint(value // 128)


def value_info(tensor: Tensor) -> bytes:
    name, element_type, sizes = tensor
    dimensions = b"".join(field(1, field(2 if isinstance(size, str) else 1, size)) for size in sizes)
    return field(1, name) + field(2, field(1, field(1, ELEMENT_TYPES[element_type]) + field(2, dimensions)))


@pytest.fixture
def write_network(tmp_path: Path) -> Callable[..., Path]:
    """Write a network whose one node applies `operator` to the inputs and gives the output."""

    def write(operator: str, inputs: Sequence[Tensor], output: Tensor) -> Path:
        node = b"".join(field(1, name) for name, _, _ in inputs) + field(2, output[0]) + field(4, operator)
        graph = field(1, node) + field(2, "graph")
        graph += b"".join(field(11, value_info(tensor)) for tensor in inputs) + field(12, value_info(output))
        path = tmp_path / f"{operator}.onnx"
        path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(2, 17)))
        return path

    return write
