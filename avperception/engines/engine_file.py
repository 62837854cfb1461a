"""An engine on disk: how it is named, what lies beside it, and whether it may be run here."""

from __future__ import annotations

import glob
import re
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from avperception.engines.files import engine_directory, sha256_of_file
from avperception.engines.machine import Machine
from avperception.engines.manifest import Difference, EngineManifest, read_manifest, short
from avperception.engines.options import CURRENT, CompilerOptions, target_text
from avperception.errors import AvperceptionError, EngineError
from avperception.models.library import card_paths, load_named, model_directory, network_path

SUFFIX = ".engine"


class StaleEngineError(EngineError):
    """An engine must not be run here; `differences` says each reason, `command` builds it anew."""

    def __init__(self, path: Path, differences: list[Difference], command: str, no_gpu: bool) -> None:
        reasons = "; ".join(str(difference) for difference in differences)
        super().__init__(f"engine {path} cannot be used here: {reasons}: build it with `{command}`")
        self.differences = differences
        self.command = command
        self.no_gpu = no_gpu

    @property
    def only_lacks_gpu(self) -> bool:
        """Whether nothing is wrong but that this machine has no GPU: the engine is for another one."""
        return [difference.what for difference in self.differences] == ["GPU"] and self.no_gpu


@dataclass(frozen=True)
class EngineFile:
    """The file `NETWORK.PRECISION.TARGET.engine` and what lies beside it."""

    path: Path

    @property
    def manifest_path(self) -> Path:
        """The manifest, a JSON file."""
        return self.path.with_suffix(".json")

    @property
    def layers_path(self) -> Path:
        """The engine's layers, a JSON file."""
        return self.path.with_suffix(".layers.json")

    @property
    def prepared_path(self) -> Path:
        """The network in the engine's precision, an ONNX file; there is none for FP32."""
        return self.path.with_suffix(".onnx")

    @property
    def name_parts(self) -> tuple[str, str, str] | None:
        """Network, precision and target as the file's name says them; None for another form of name."""
        match = re.fullmatch(r"(.+)\.(fp32|fp16|int8)\.([a-z0-9-]+)", self.path.stem)
        return (match[1], match[2], match[3]) if match else None


def engine_file(network: Path, precision: str, targets: tuple[str, ...]) -> EngineFile:
    """Where the engine of an ONNX file for these compute capabilities is kept."""
    name = f"{network.stem}.{precision}.{target_text(targets, '-')}{SUFFIX}"
    return EngineFile(engine_directory(network) / name)


def engines_of(network: Path, precision: str = "*") -> list[EngineFile]:
    """The engines that were built of an ONNX file, the newest first."""
    pattern = f"{glob.escape(network.stem)}.{precision}.*{SUFFIX}"
    found = [EngineFile(path) for path in engine_directory(network).glob(pattern)]
    return sorted((file for file in found if file.name_parts), key=_age, reverse=True)


def engine_folders() -> tuple[Path, ...]:
    """The folders where engines of the models that go by name are kept, each once."""
    folders: dict[Path, None] = {}
    for path in card_paths().values():
        with suppress(AvperceptionError):
            if network := network_path(load_named(path)):
                folders[engine_directory(network)] = None
    chosen = [] if folders else [engine_directory(model_directory() / "any.onnx")]
    return tuple(folder for folder in [*folders, *chosen] if folder.is_dir())


def engines_in(folder: Path) -> list[EngineFile]:
    """All engines of a folder, by name."""
    return [EngineFile(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]


def verify(
    file: EngineFile,
    machine: Machine,
    network: Path | None = None,
    precision: str | None = None,
    model: str | None = None,
) -> EngineManifest:
    """Give the engine's manifest if it may be run here.

    Raises StaleEngineError with every difference: another machine, another TensorRT, another `network`,
    another `precision` than asked for, and a file that is not the one its manifest was written for. Its
    command builds the `model` asked for, else the engine's own.
    """
    try:
        manifest = read_manifest(file.manifest_path)
    except EngineError as error:
        problem = Difference("manifest", "one this version can read", str(error))
        command = rebuild_command(file, None, machine, precision, model)
        raise StaleEngineError(file.path, [problem], command, machine.gpu is None) from error
    found = file_differences(file, manifest)
    found += manifest.differences(machine, sha256_of_file(network) if network else None)
    built = str(manifest.precision["precision"])
    if precision is not None and built != precision:
        found.append(Difference("precision", built, f"{precision} asked for"))
    if found:
        command = rebuild_command(file, manifest, machine, precision, model)
        raise StaleEngineError(file.path, found, command, machine.gpu is None)
    return manifest


def file_differences(file: EngineFile, manifest: EngineManifest) -> list[Difference]:
    """In what the file is not the one that its manifest was written for, on whatever machine."""
    wanted = manifest.engine
    try:
        size = file.path.stat().st_size
    except OSError as error:
        return [Difference("file", f"{wanted.bytes} bytes", error.strerror or str(error))]
    if size != wanted.bytes:
        return [Difference("file", f"{wanted.bytes} bytes", f"{size} bytes, it was cut off or replaced")]
    found = sha256_of_file(file.path)
    if found != wanted.sha256:
        return [Difference("file", f"sha256 {short(wanted.sha256)}", f"{short(found)}, it was altered")]
    return []


def rebuild_command(
    file: EngineFile,
    manifest: EngineManifest | None,
    machine: Machine,
    precision: str | None = None,
    model: str | None = None,
) -> str:
    """The command that builds the engine for this machine; MODEL stands where nothing says which it is."""
    if manifest:
        request = manifest.request
        options = manifest.options()
        words = [model or request.model, "--precision", precision or str(manifest.precision["precision"])]
        words += _precision_words(manifest, words[2])
        words += _option_words(options, targets_here(manifest, machine))
    else:
        network, built, target = file.name_parts or ("", "fp16", "")
        words = [model or model_of(network), "--precision", precision or built]
        if machine.gpu is None and target.startswith("sm"):
            words += ["--target", target.replace("-", ",")]
    return " ".join(["avperception engine build", *(shlex.quote(word) for word in words)])


def targets_here(manifest: EngineManifest, machine: Machine) -> tuple[str, ...]:
    """The targets that an engine was asked for, unless they leave out the GPU that is here."""
    asked = manifest.request.targets
    if machine.gpu is not None:
        return asked if machine.gpu.compute_capability in asked else CURRENT
    return asked if asked != CURRENT else manifest.target.compute_capabilities


def _precision_words(manifest: EngineManifest, precision: str) -> list[str]:
    request = manifest.request
    if precision == "fp32":
        return []
    words = ["--calibration", request.calibration_set] if request.calibration_set else []
    if precision != "int8":
        return words
    words += ["--calibrator", request.calibrator] if request.calibrator else []
    for pattern in request.keep_fp16:
        words += ["--keep-fp16", pattern]
    if request.max_drop is not None:
        words += ["--max-drop", f"{100 * request.max_drop:g}%"]
    return words


def _option_words(options: CompilerOptions, targets: tuple[str, ...]) -> list[str]:
    default = CompilerOptions()
    words = [] if targets == CURRENT else ["--target", target_text(targets)]
    if options.workspace_mib != default.workspace_mib:
        words += ["--workspace", str(options.workspace_mib)]
    if options.optimization_level != default.optimization_level:
        words += ["--optimization-level", str(options.optimization_level)]
    if options.dla_core is not None:
        words += ["--dla", str(options.dla_core)]
    words += ["--sparse"] if options.sparse else []
    words += ["--tf32"] if options.tf32 else []
    for name, profile in options.profiles.items():
        shapes = (profile.minimum, profile.optimum, profile.maximum)
        words += ["--shape", f"{name}={','.join('x'.join(map(str, shape)) for shape in shapes)}"]
    return words


def model_of(network: str) -> str:
    """The name of the card with this network, for a command that somebody can type."""
    for name, path in card_paths().items():
        with suppress(AvperceptionError):
            if Path(load_named(path).file).stem == network:
                return name
    return "MODEL"


def _age(file: EngineFile) -> int:
    try:
        return file.path.stat().st_mtime_ns
    except OSError:
        return 0
