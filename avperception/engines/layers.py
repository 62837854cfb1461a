"""The layers of a built engine: what was fused into each, in which precision it computes, what it holds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

# TensorRT's names of element types, in the listing and in the inspector's JSON.
_PRECISIONS = {
    "Float": "fp32", "FP32": "fp32", "Half": "fp16", "FP16": "fp16", "BFloat16": "bf16", "BF16": "bf16",
    "Int8": "int8", "INT8": "int8", "FP8": "fp8", "Int32": "int32", "Int64": "int64", "UInt8": "uint8",
    "Bool": "bool",
}  # fmt: skip
_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1, "fp8": 1, "int32": 4, "int64": 8, "uint8": 1, "bool": 1}
_ORDER = ("int8", "fp8", "fp16", "bf16", "fp32")
_SYNCHRONISATION = ("signal", "wait")


@dataclass(frozen=True)
class Layer:
    """One layer of an engine: a kernel made of one or several nodes of the network.

    `operators` are the ONNX nodes fused into it; `precision` is the narrowest element type that it
    reads or writes; `weight_bytes` is the size of its constants; tensors are `name 1x3x4x5 fp16`.
    """

    name: str
    kind: str
    operators: tuple[str, ...]
    precision: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weight_bytes: int

    def as_dict(self) -> dict[str, Any]:
        """The layer as JSON values."""
        return asdict(self)


def layers_of_listing(messages: list[str]) -> tuple[Layer, ...]:
    """Read the listing that TensorRT-RTX's builder prints; it needs no GPU. Empty if there is none."""
    layers = []
    for message in messages:
        for line in message.splitlines():
            match = _LISTED.match(line)
            if match and match[2] not in _SYNCHRONISATION:
                inputs, constants, outputs = (
                    list(_listed_tensors(line, key)) for key in ("Inputs", "Constants", "Outputs")
                )
                layers.append(_layer(match[1], match[2], _OPERATOR.findall(line), inputs, constants, outputs))
    return tuple(layers)


_LISTED = re.compile(r"\s*Name: (.*?), LayerType: (\w+), ")
_LISTED_TENSOR = re.compile(
    r"Name: (?P<name>.*?), Dimensions: \[(?P<shape>[-\d,]*)\],.*?Datatype: (?P<type>\w+)"
)
_OPERATOR = re.compile(r"\[ONNX Layer: ([^\]]+)\]")


def _listed_tensors(line: str, key: str) -> Iterator[tuple[str, tuple[int, ...], str]]:
    for match in _LISTED_TENSOR.finditer(_bracket(line, f", {key}: [")):
        shape = tuple(int(size) for size in match["shape"].split(",") if size)
        yield match["name"], shape, _PRECISIONS.get(match["type"], match["type"].lower())


def _bracket(line: str, opening: str) -> str:
    """What is between the bracket that ends `opening` and the one that closes it; others may be inside."""
    start = line.find(opening)
    if start < 0:
        return ""
    start += len(opening)
    depth = 1
    for end in range(start, len(line)):
        depth += {"[": 1, "]": -1}.get(line[end], 0)
        if not depth:
            return line[start:end]
    return line[start:]


def layers_of_inspector(text: str) -> tuple[Layer, ...]:
    """Read the JSON of TensorRT's engine inspector; an engine built without details gives names alone."""
    layers = []
    for entry in json.loads(text).get("Layers", []):
        if isinstance(entry, str):
            layers.append(_layer(entry, "", [], [], [], []))
        elif entry.get("LayerType") not in _SYNCHRONISATION:
            inputs, constants, outputs = (
                [_inspected_tensor(tensor) for tensor in entry.get(key, [])]
                for key in ("Inputs", "Constants", "Outputs")
            )
            operators = _OPERATOR.findall(str(entry.get("Metadata", "")))
            layers.append(
                _layer(
                    entry.get("Name", ""), entry.get("LayerType", ""), operators, inputs, constants, outputs
                )
            )
    return tuple(layers)


def _inspected_tensor(tensor: Mapping[str, Any]) -> tuple[str, tuple[int, ...], str]:
    described = f"{tensor.get('Datatype', '')} {tensor.get('Format/Datatype', '')} {tensor.get('Format', '')}"
    precision = next((_PRECISIONS[word] for word in re.findall(r"\w+", described) if word in _PRECISIONS), "")
    return str(tensor.get("Name", "")), tuple(tensor.get("Dimensions", ())), precision


_Tensor = tuple[str, tuple[int, ...], str]


def _layer(
    name: str,
    kind: str,
    operators: list[str],
    inputs: list[_Tensor],
    constants: list[_Tensor],
    outputs: list[_Tensor],
) -> Layer:
    seen = {precision for _, _, precision in inputs + outputs}
    return Layer(
        name=name,
        kind=kind,
        operators=tuple(dict.fromkeys(operators)),
        precision=next(
            (precision for precision in _ORDER if precision in seen), next(iter(sorted(seen)), "")
        ),
        inputs=tuple(map(_tensor_text, inputs)),
        outputs=tuple(map(_tensor_text, outputs)),
        weight_bytes=sum(map(_tensor_bytes, constants)),
    )


def _tensor_text(tensor: _Tensor) -> str:
    name, shape, precision = tensor
    return " ".join(part for part in (name, "x".join(map(str, shape)), precision) if part)


def _tensor_bytes(tensor: _Tensor) -> int:
    size = _BYTES.get(tensor[2], 0)
    for length in tensor[1]:
        size *= length
    return size
