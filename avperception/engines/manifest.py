"""The manifest beside an engine: how and for which machine it was made, and if it fits here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from avperception.engines.machine import Machine
from avperception.engines.options import CompilerOptions, Profile
from avperception.errors import AvperceptionError, EngineError

FORMAT = 1
"""Format of the manifests that this version writes; docs/engine_manifest.schema.json describes it."""

Section = TypeVar("Section")


@dataclass(frozen=True)
class FileFacts:
    """A file by its name, its size in bytes and its sha256 in 64 hexadecimal digits."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class TensorFacts:
    """An input or output; -1 is an open axis, `profile` its smallest, usual and largest shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    profile: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True)
class TensorrtFacts:
    """The flavour (`tensorrt` or `tensorrt_rtx`) and version that built the engine."""

    flavour: str
    version: str


@dataclass(frozen=True)
class TargetFacts:
    """The GPUs that the engine is for: compute capabilities, and the one model if it is for that alone."""

    compute_capabilities: tuple[str, ...]
    gpu: str | None
    platform: str


@dataclass(frozen=True)
class BuildFacts:
    """Where and how the engine was built.

    `driver`, `cuda` and `gpu`, that of the building machine, are None where there was none; `tf32`: FP32
    products may be computed in TF32.
    """

    time: str
    seconds: float
    package_version: str
    driver: str | None
    cuda: str | None
    workspace_mib: int
    optimization_level: int
    dla_core: int | None
    sparse: bool
    tf32: bool
    memory: Mapping[str, int]
    advice: tuple[str, ...]
    gpu: str | None = None


@dataclass(frozen=True)
class RequestFacts:
    """What the user asked for: with it the engine can be built again."""

    model: str
    targets: tuple[str, ...]
    calibrator: str | None
    calibration_set: str | None
    keep_fp16: tuple[str, ...]
    max_drop: float | None
    tf32: bool


@dataclass(frozen=True)
class Difference:
    """One thing in which an engine does not fit: what it is, what the engine has, what is found here."""

    what: str
    engine: str
    here: str

    def __str__(self) -> str:
        return f"{self.what} (engine: {self.engine}; here: {self.here})"


@dataclass(frozen=True)
class EngineManifest:
    """All that is known about one engine file; `precision` is the report of the precision conversion.

    `onnx` is the network of the model card, `prepared_onnx` the one in the engine's precision that
    TensorRT was given (the same for FP32).
    """

    format: int
    engine: FileFacts
    onnx: FileFacts
    prepared_onnx: FileFacts
    tensorrt: TensorrtFacts
    target: TargetFacts
    precision: Mapping[str, Any]
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    build: BuildFacts
    request: RequestFacts

    @property
    def coverage(self) -> Mapping[str, Any] | None:
        """What an INT8 engine was calibrated with; the values of other precisions have no such limits."""
        return self.precision.get("coverage") if self.precision["precision"] == "int8" else None

    def as_json(self) -> bytes:
        """The manifest as it is written."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    def differences(self, machine: Machine, onnx_sha256: str | None = None) -> list[Difference]:
        """Everything in which the engine does not fit this machine, or the network if its digest is given.

        The driver may be another one, TensorRT itself allows that; its CUDA must not be older.
        """
        found = [*self._software_differences(machine), *self._hardware_differences(machine)]
        if onnx_sha256 is not None and onnx_sha256 != self.onnx.sha256:
            built_from = f"sha256 {short(self.onnx.sha256)}"
            found.append(Difference(f"network {self.onnx.file}", built_from, f"sha256 {short(onnx_sha256)}"))
        return found

    def _software_differences(self, machine: Machine) -> Iterator[Difference]:
        if machine.flavour != self.tensorrt.flavour:
            yield Difference("TensorRT flavour", self.tensorrt.flavour, machine.flavour or "none")
        elif machine.version != self.tensorrt.version:
            yield Difference("TensorRT version", self.tensorrt.version, machine.version or "none")
        if machine.platform != self.target.platform:
            yield Difference("platform", self.target.platform, machine.platform)
        if self.build.cuda and machine.cuda and _version(machine.cuda)[0] < _version(self.build.cuda)[0]:
            yield Difference("CUDA of the driver", f"{self.build.cuda} or newer", machine.cuda)

    def _hardware_differences(self, machine: Machine) -> Iterator[Difference]:
        wanted = " or ".join(self.target.compute_capabilities)
        if machine.gpu is None:
            yield Difference("GPU", f"compute capability {wanted}", machine.gpu_problem or "none")
        elif machine.gpu.compute_capability not in self.target.compute_capabilities:
            here = f"{machine.gpu.compute_capability} ({machine.gpu.name})"
            yield Difference("compute capability", wanted, here)
        elif self.target.gpu and self.target.gpu != machine.gpu.name:
            yield Difference("GPU", self.target.gpu, machine.gpu.name)

    def options(self) -> CompilerOptions:
        """The builder's options, to build the same engine again."""
        return CompilerOptions(
            targets=self.request.targets,
            workspace_mib=self.build.workspace_mib,
            optimization_level=self.build.optimization_level,
            dla_core=self.build.dla_core,
            sparse=self.build.sparse,
            tf32=self.request.tf32,
            profiles={tensor.name: Profile(*tensor.profile) for tensor in self.inputs if tensor.profile},
        )


def read_manifest(path: Path) -> EngineManifest:
    """Read the manifest file at `path`.

    Raises EngineError if it is missing, no JSON, of a newer format, or not what such a file must hold.
    """
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise EngineError(
            f"the manifest {path} is not there, so nothing is known about the engine"
        ) from error
    except OSError as error:
        raise EngineError(f"the manifest {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise EngineError(f"the manifest {path} is no JSON ({error})") from error
    if not isinstance(values, dict) or not isinstance(values.get("format"), int):
        raise EngineError(f"the manifest {path} is not an engine's, it has no format")
    if values["format"] != FORMAT:
        raise EngineError(
            f"the manifest {path} is of format {values['format']}, this version reads {FORMAT}"
            + (": it comes from a newer avperception" if values["format"] > FORMAT else "")
        )
    try:
        return _manifest(values)
    except (KeyError, TypeError, ValueError, AttributeError, AvperceptionError) as error:
        raise EngineError(f"the manifest {path} is incomplete or altered ({_what(error)})") from error


def _manifest(values: Mapping[str, Any]) -> EngineManifest:
    request, target, build = dict(values["request"]), dict(values["target"]), dict(values["build"])
    for section, key in ((request, "targets"), (request, "keep_fp16"), (target, "compute_capabilities")):
        section[key] = tuple(_text(text) for text in section[key])
    build["advice"] = tuple(_text(text) for text in build["advice"])
    precision = values["precision"]
    _text(precision["precision"])
    manifest = EngineManifest(
        format=FORMAT,
        engine=_file(values["engine"]),
        onnx=_file(values["onnx"]),
        prepared_onnx=_file(values["prepared_onnx"]),
        tensorrt=_section(TensorrtFacts, values["tensorrt"]),
        target=_section(TargetFacts, target),
        precision=precision,
        inputs=tuple(map(_tensor, values["inputs"])),
        outputs=tuple(map(_tensor, values["outputs"])),
        build=_section(BuildFacts, build),
        request=_section(RequestFacts, request),
    )
    manifest.options()  # raises where one of them is out of its range
    return manifest


def _section(kind: type[Section], values: Mapping[str, Any]) -> Section:
    """A dataclass of exactly these values; keys that a later version added are left out."""
    chosen = {}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name not in values and field.default is not MISSING:
            continue  # it is younger than the manifest
        chosen[field.name] = values[field.name]
        allowed = _JSON_TYPES.get(str(field.type))
        if allowed and not isinstance(chosen[field.name], allowed):
            raise TypeError(f"{field.name} is {chosen[field.name]!r}, not {field.type}")
    return kind(**chosen)


# By annotation; tuples are made, and thereby checked, before.
_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "int | None": (int, type(None)),
    "float": (float, int),
    "float | None": (float, int, type(None)),
    "bool": (bool,),
    "Mapping[str, int]": (dict,),
}


def _file(values: Mapping[str, Any]) -> FileFacts:
    return _section(FileFacts, values)


def _tensor(values: Mapping[str, Any]) -> TensorFacts:
    profile = values["profile"]
    shapes = tuple(tuple(map(int, shape)) for shape in profile) if profile else None
    if shapes is not None and len(shapes) != 3:
        raise ValueError("a profile has three shapes")
    return TensorFacts(
        _text(values["name"]), _text(values["dtype"]), tuple(map(int, values["shape"])), shapes
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _what(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal()) or (0,)


def short(sha256: str) -> str:
    """The first 12 digits of a digest: enough to tell two files apart."""
    return f"{sha256[:12]}..."
